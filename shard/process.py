"""A shard process without its I/O: membership, regions and their moves, composed. Told what the store, the links and
the clock say; returns what to ask and to send.

Decides which message goes to whom, and what owning, losing and moving a region mean for its simulation. Invariants: a
region is stepped, published and acknowledged only while ``MemberCore`` says that it is owned; every message of a tick
leaves after all regions have stepped. Not responsible for: rules of ownership (``cluster``), of a region
(``shard.region``), reaching anybody.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cluster import moving
from cluster.asks import Answer, Ask
from cluster.departing import Departing
from cluster.failsafe import FailsafeCore
from cluster.failsafe import Tell as FailsafeTell
from cluster.member import Ids, Lose, MemberCore, Own, Reshape
from cluster.moving import Moving
from cluster.out import Out
from cluster.partition import Partition
from cluster.records import MemberRecord
from cluster.regions import Layout
from cluster.store.contract import WatchItem
from protocol import failsafe as failsafe_words
from protocol import moving as moving_words
from protocol.border import Border
from protocol.carried import Kind, Send
from protocol.codes import ProtocolViolation
from protocol.link import Upward
from shard.behaviours.runner import Fault
from shard.border.links import Square
from shard.changing import Changing
from shard.core import ShardCore
from shard.gateways import WINDOW
from shard.inbox import Inbox
from shard.journal.keeper import Keeper
from shard.journal.keeping import Found, Keeping, Kept, Overtaken, Question, Reply
from shard.journal.restore import Restored
from shard.region import TICKS_MAX

IDS_LOW = 1 << 16
"""A region with fewer ids left gets another block."""
BORDERS_MAX = 8
"""Messages of one neighbour that are kept for a step: one comes each tick, and the newest alone would do."""


@dataclass(slots=True)
class ShardOut(Out):
    """Also ``faults`` to log, ``journal``: questions to the durable store (answer each with ``journaled``), and
    ``loaded``: regions that have just begun from what it holds, and what came of it."""

    faults: list[tuple[int, Fault]] = field(default_factory=list)
    journal: list[tuple[int, Question]] = field(default_factory=list)
    loaded: list[tuple[int, Restored]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A region that is ours and waits for entity ids before it can begin."""

    region: int
    epoch: int
    found: Found | None = None
    """What the durable store has of it."""


class ShardProcess:
    """One shard. ``first_move``: moves are numbered from here; draw it at random, so that no life repeats another's."""

    def __init__(
        self, name: str, record: MemberRecord, layout: Layout, core: ShardCore, first_move: int, lease_s: int = 3
    ) -> None:
        self.name = name
        self.layout = layout
        self.core = core
        self.member = MemberCore(name, record, lease_s)
        self.failsafe = FailsafeCore(name)
        self.moving = Moving()
        self.changing = Changing(core, self.member, self._square)
        self.counts: Counter[str] = Counter()
        """For metrics: regions begun, moved in, dropped; messages dropped by reason."""
        self.told_bytes: Counter[int] = Counter()
        """By region: what gateways were told of it, since this process began."""
        self.on_lost: Callable[[int], None] | None = None
        """Called with a region that is about to be dropped and was not moved away (perhaps a mere copy that was loaded
        for a move): for logs and tests."""
        self.on_change: Callable[[Sequence[int], Mapping[int, int], bool], None] | None = None
        """Called before and after (True) regions, the first, are split or merged into others, with their epochs."""
        self.on_upward: Callable[[Upward], None] | None = None
        """For traces: called with each message of a gateway when it comes."""
        self.departing = Departing(self.member, self.moving)
        self._next_move = first_move
        self._wanted: deque[_Wanted] = deque()
        self._low: deque[int] = deque()
        self._asking_ids = 0
        self._gateways: dict[int, str] = {}
        """Members by the numbers that their gateways go by now."""
        self._spoke: dict[str, int] = {}
        """Of these, the numbers that they said themselves over the link that is up."""
        self._upward: Inbox[Upward] = Inbox(WINDOW, lambda said: (said.gateway, said.region))
        self._border: Inbox[Border] = Inbox(BORDERS_MAX, lambda said: (said.source, said.target))
        self._went: dict[int, str] = {}
        """Regions that were moved away, and to whom."""
        leaves = core.config.leaves
        self.keeper = Keeper(Keeping(leaves.level), self._held_beside) if leaves is not None else None
        self._told: Counter[int] = Counter()
        """Steps of each region that gateways were told of in this turn."""

    @property
    def inbox_dropped(self) -> int:
        """For metrics: messages of members that say more between two steps than they should."""
        return self._upward.dropped + self._border.dropped

    @property
    def gateways_addressed(self) -> int:
        """For metrics: numbers of gateways that are known here as some member's."""
        return len(self._gateways)

    # ---------------------------------------------------------------------------------------------------- the store
    def watched(self, item: WatchItem, now_s: float) -> ShardOut:
        """The watch of the namespace told something."""
        out = ShardOut()
        before = self.partition
        actions = self.member.watched(item, now_s)
        if self.partition is not before:
            # First what was changed here: it took nothing along. Then everybody has the neighbours that there are now.
            self._follow([action for action in actions if isinstance(action, Reshape)], now_s, out)
            actions = [action for action in actions if not isinstance(action, Reshape)]
            self.core.regroup(self._geometry)
        self._follow(actions, now_s, out)
        return out

    def answered(self, whose: str, number: int, answer: Answer, now_s: float) -> ShardOut:
        """The answer to ``asks``; ``whose`` and the number as they were given there."""
        out = ShardOut()
        if whose == "member":
            self._follow(self.member.answered(number, answer, now_s), now_s, out)
        elif whose == "reshaping":
            self._ask_of_changes(self.changing.answered(number, answer, now_s), out)
        else:
            self._move(self.departing.answered(number, answer, now_s), now_s, out)
        return out

    # ---------------------------------------------------------------------------------------------------- the links
    def received(self, member: str, kind: Kind, data: bytes, now_s: float) -> ShardOut:
        """A message of another member. Raises ProtocolViolation: the link must then be reset."""
        out = ShardOut()
        match kind:
            case Kind.UPWARD | Kind.PASSED:
                upward = Upward.decode(data)
                if kind is Kind.UPWARD:
                    self._learn_gateway(upward.gateway, member)
                self._saw(upward.region, upward.epoch, now_s, out)
                if upward.region in self.core.regions:
                    self._upward.put(upward)
                    if self.on_upward is not None:
                        self.on_upward(upward)
                elif upward.region in self._went:
                    self._pass_on(upward, self._went[upward.region], out)
                else:
                    self.counts["upward for another's region"] += 1
            case Kind.BORDER:
                border = Border.decode(data)
                self._saw(border.source, border.epoch, now_s, out)
                self._saw(border.target, border.target_epoch, now_s, out)
                if self.member.book.is_stale(border.source, border.epoch):
                    self.counts["border of an older epoch"] += 1
                elif border.target in self.core.regions:
                    self._border.put(border)
                else:
                    self.counts["border for another's region"] += 1
            case Kind.MOVE:
                self._moved(member, moving_words.decode(data), now_s, out)
            case Kind.FAILSAFE:
                word = failsafe_words.decode(data)
                book, answered_s = self.member.book, self.member.answered_s
                self._say(self.failsafe.heard(member, word, book, answered_s, now_s), out)
                self.member.failsafe_until_s = self.failsafe.until_s
            case _:
                raise ProtocolViolation("link", f"a shard takes no messages of kind {kind.name}")
        return out

    def link_up(self, member: str, now_s: float) -> ShardOut:
        """There is a link to a member: it speaks for itself."""
        return ShardOut()

    def link_down(self, member: str, now_s: float) -> ShardOut:
        """The link to a member broke."""
        out = ShardOut()
        self._forget_gateway(member)  # it may come back in another life; if not, it speaks before it can follow
        self._move(self.moving.link_down(member), now_s, out)
        return out

    def link_refused(self, member: str, generation: int, address: str, now_s: float) -> ShardOut:
        """A member that ended its link listens no more where it did."""
        out = ShardOut()
        self._follow(self.member.refused(member, generation, address, now_s), now_s, out)
        return out

    def _learn_gateway(self, number: int, member: str) -> None:
        if self._spoke.get(member) != number:
            # Each life of a gateway has a number of its own: the one before is over.
            self._forget_gateway(member)
            self._gateways[number] = member
            self._spoke[member] = number

    def _forget_gateway(self, member: str) -> None:
        self._spoke.pop(member, None)
        self._gateways = {number: name for number, name in self._gateways.items() if name != member}

    def _hand_on(self, region: int, to: str, out: ShardOut) -> None:
        self._went[region] = to
        for said in self._upward.take(lambda said: said.region == region):
            self._pass_on(said, to, out)

    def _pass_on(self, upward: Upward, to: str, out: ShardOut) -> None:
        """What a gateway said to the owner before goes to the next one: no command is lost by a move."""
        self.counts["upward passed on"] += 1
        out.sends.append(Send(to, Kind.PASSED, upward.region, upward.encode()))

    def _saw(self, region: int, epoch: int, now_s: float, out: ShardOut) -> None:
        self._follow(self.member.saw_epoch(region, epoch), now_s, out)

    def _moved(self, member: str, word: moving_words.Word, now_s: float, out: ShardOut) -> None:
        if isinstance(word, moving_words.Settle | moving_words.Settled):
            self._saw(word.region, word.epoch, now_s, out)
            if self.keeper is not None:
                self.keeper.heard(member, word)
            return
        owned = self.member.owned(now_s)
        if isinstance(word, moving_words.Split | moving_words.Merge):
            self._ask_of_changes(self.changing.asked(word, owned, self._is_running, now_s), out)
            return
        if isinstance(word, moving_words.Please):
            if owned.get(word.region) == word.epoch:
                self._move(self.ask_move(word.region, word.to, now_s), now_s, out)
            return
        if isinstance(word, moving_words.Offer):
            # Of a gateway that has not spoken here both numbers may be a former life's. What one says itself counts:
            # the region's owner before may not have heard yet that a life is over.
            told = {number: name for number, name in word.gateways.items() if name not in self._spoke}
            self._gateways = {**told, **self._gateways}
        lease = None if self.member.lease is None else self.member.lease.id
        revision = self.member.book.revision
        self._move(self.moving.heard(member, word, word.region in owned, lease, now_s, revision), now_s, out)

    def ask_move(self, region: int, to: str, now_s: float) -> list[moving.Action]:
        """Begin to move an owned region; nothing if the target is not there, or the region has not begun."""
        target = self.member.book.members.get(to)
        if target is None or to == self.name or not self._is_running(region):
            return []
        self._next_move += 1
        return self.moving.ask(region, self.member.owned(now_s)[region], to, target.lease, self._next_move, now_s)

    # ----------------------------------------------------------------------------------------------------- the clock
    def tick(self, tick: int, now_s: float) -> ShardOut:
        """Step to the world's ``tick``. Nothing is stepped, published or acknowledged that is not owned."""
        out = ShardOut()
        member = self.member
        told = self.failsafe.tick(member.book, member.claims, member.answered_s, now_s)
        member.failsafe_until_s = self.failsafe.until_s
        self._say(told, out)
        self._follow(member.tick(now_s), now_s, out)
        self._move(self.moving.tick(now_s), now_s, out)
        self._ask_of_changes(self.changing.tick(self.partition, now_s), out)
        self._begin_wanted(now_s, out)
        self._told.clear()
        while self.core.tick < tick:
            self._step(min(tick, self.core.tick + TICKS_MAX), out)
        self._ask_journal(now_s, out)
        return out

    def _step(self, tick: int, out: ShardOut) -> None:
        said = self._upward.take(lambda said: said.region not in self.core.frozen)  # what is frozen hears it later
        result = self.core.step(tick, said, self._border.take())
        out.faults += result.faults
        for published in result.published:
            delta = published.delta
            if published.gateways:
                data = delta.encode()
                self._publish(published.gateways, delta.region, data, out)
            if published.subscribe:
                self._publish(published.subscribe, delta.region, published.snapshot().encode(), out)
            self._told[delta.region] += 1
        for region, draft in result.drafts:
            if self.keeper is not None and self.keeper.keeping.keeps(region):
                self.keeper.keeping.put(region, draft)
        book = self.member.book
        for message in result.borders:
            owner = book.owner(message.target)
            if owner is None or owner.name == self.name:
                self.counts["border without an owner"] += 1
            else:
                key = message.source << 32 ^ message.target
                out.sends.append(Send(owner.name, Kind.BORDER, key, message.encode()))
        for number, core in self.core.regions.items():
            if core.ids.left < IDS_LOW and number not in self._low:
                self._low.append(number)

    def _publish(self, gateways: Sequence[int], region: int, data: bytes, out: ShardOut) -> None:
        # A delta takes the place of an older turn's, not of one of the same turn: that would be a gap for nothing.
        key = region << 8 | min(self._told[region], 255)
        for gateway in gateways:
            name = self._gateways.get(gateway)
            if name is not None:
                self.told_bytes[region] += len(data)
                out.sends.append(Send(name, Kind.DELTA, key, data))

    def leave(self, now_s: float) -> ShardOut:
        """End: what is still owned is given up, and the lease is given back."""
        out = ShardOut()
        self._follow(self.member.leave(), now_s, out)
        return out

    # ------------------------------------------------------------------------------------------------------ regions
    def _follow(self, actions: Sequence[object], now_s: float, out: ShardOut) -> None:
        """Carry out what the membership says."""
        for action in actions:
            match action:
                case Ask():
                    out.asks.append(("member", action))
                case Own():
                    self._own(action, now_s, out)
                case Reshape():
                    self._reshape(action, now_s, out)
                case Lose():
                    self._lose(action.region, now_s, out)
                case Ids():
                    self._asking_ids = max(0, self._asking_ids - 1)
                    self._got_ids(action, out)

    def _own(self, own: Own, now_s: float, out: ShardOut) -> None:
        if own.again:
            self.counts["regions kept"] += 1
            # A move under the old epoch can not be written any more.
            self._move(self.moving.lost(own.region), now_s, out)
            if own.region in self.core.regions:
                self.core.thaw_region(own.region, own.epoch)
                self._keep(own.region, own.epoch)
                return
            self._wait_no_more(own.region)  # it has not begun yet: that is done under the new epoch
        assert self.member.lease is not None  # a region is owned by the lease that its record names
        actions = self.moving.assigned(own.region, own.epoch, self.member.lease.id, own.move, now_s)
        if actions is not None:
            self._move(actions, now_s, out)
            return
        if own.region in self.core.regions:
            self.core.drop_region(own.region)  # loaded for a move that was never written
        if self.keeper is None:
            self._wanted.append(_Wanted(own.region, own.epoch))
        else:
            owners = [self.member.book.owner(other) for other in self._beside(own.region)]
            names = {owner.name for owner in owners if owner is not None}
            self.keeper.begin(own.region, own.epoch, names, now_s)

    def _lose(self, region: int, now_s: float, out: ShardOut) -> None:
        entry = self.member.book.regions.get(region)
        self._move(self.moving.lost(region, 0 if entry is None else entry.record.move), now_s, out)
        self._ask_of_changes(self.changing.ended([region], done=False), out)
        self._wait_no_more(region)
        if region in self.core.regions:
            self.counts["regions lost"] += 1
            self._drop_lost(region)

    def _wait_no_more(self, region: int) -> None:
        self._wanted = deque(wanted for wanted in self._wanted if wanted.region != region)
        self._forget(region)

    def _drop_lost(self, region: int) -> None:
        if self.on_lost is not None:
            self.on_lost(region)
        self.core.drop_region(region)

    def _begin_wanted(self, now_s: float, out: ShardOut) -> None:
        """Blocks of ids for regions that wait to begin, or run low."""
        if (self._wanted or self._low) and not self._asking_ids:
            asks = self.member.take_ids()
            self._asking_ids += len(asks)
            self._follow(asks, now_s, out)
        elif self._asking_ids and not self.member.is_taking_ids:
            self._asking_ids = 0  # the answer never came, or was a refusal

    def _got_ids(self, ids: Ids, out: ShardOut) -> None:
        if self._wanted:
            wanted = self._wanted.popleft()
            square, neighbours = self._geometry(wanted.region)
            # The scripts' ``start`` runs once in a world: where its origin is, under the first epoch.
            is_new = wanted.epoch == 1 if wanted.found is None else wanted.found.loaded.tick == 0
            start = is_new and wanted.region == int(self.partition.region_at(0.0, 0.0))
            self._went.pop(wanted.region, None)
            core = self.core.add_region(
                wanted.region, wanted.epoch, square, neighbours, first_id=ids.first, id_count=ids.count, start=start
            )
            self.counts["regions begun"] += 1
            if wanted.found is not None:
                restored = core.begin_from(wanted.found.loaded, wanted.found.hops)
                self.counts["entities loaded"] += restored.entities
                self.counts["rows damaged"] += len(restored.damage)
                out.loaded.append((wanted.region, restored))
        elif self._low:
            region = self._low.popleft()
            if region in self.core.regions:
                self.core.regions[region].ids.add(ids.first, ids.count)

    # ---------------------------------------------------------------------------------------------- the durable store
    def journaled(self, number: int, reply: Reply, now_s: float) -> ShardOut:
        """The answer to a question of ``ShardOut.journal``."""
        out = ShardOut()
        if self.keeper is None:
            return out
        for news in self.keeper.answered(number, reply, now_s):
            match news:
                case Found():
                    self._wanted.append(_Wanted(news.region, news.epoch, news))
                    self._begin_wanted(now_s, out)
                case Kept():
                    if news.region in self.core.regions:
                        self.core.regions[news.region].journaled(news.tick, news.refused)
                case Overtaken():
                    self._follow(self.member.overtaken(news.region, news.epoch), now_s, out)
        self._ask_journal(now_s, out)
        return out

    def write_all(self, now_s: float) -> ShardOut:
        """Before the end: batches of all that is not written yet. Again until :attr:`is_written`."""
        out = ShardOut()
        if self.keeper is not None:
            for region, core in self.core.regions.items():
                draft = core.last_draft() if region not in self.core.frozen else None
                if draft is not None and self.keeper.keeping.keeps(region):
                    self.keeper.keeping.put(region, draft)
            self._ask_journal(now_s, out)
        return out

    @property
    def is_written(self) -> bool:
        """Whether no batch waits to be committed."""
        return self.keeper is None or not any(self.keeper.keeping.waits(region) for region in self.core.regions)

    def _ask_journal(self, now_s: float, out: ShardOut) -> None:
        if self.keeper is None:
            return
        said, asked = self.keeper.due(self.member.book.members, now_s)
        out.journal += asked
        for member, word in said:
            if member == self.name:
                self.keeper.heard(member, word)
            else:
                out.sends.append(Send(member, Kind.MOVE, 0, moving_words.encode(word)))

    def _keep(self, region: int, epoch: int) -> None:
        if self.keeper is not None:
            self.keeper.take(region, epoch, self.core.regions[region].draft_again())

    def _forget(self, region: int) -> None:
        if self.keeper is not None:
            self.keeper.drop(region)

    def _held_beside(self, region: int) -> dict[int, int]:
        """Neighbours of a region that are here, and their ticks."""
        return {n: self.core.regions[n].tick for n in self._beside(region) if n in self.core.regions}

    # ------------------------------------------------------------------------------------------------- the partition
    @property
    def partition(self) -> Partition:
        """The regions that there are now, as far as the store has told."""
        return self.member.book.partition(self.layout)

    def _beside(self, region: int) -> list[int]:
        """A region's neighbours; of one that was split or merged meanwhile, none."""
        return self.partition.neighbours(region) if self.partition.holds(region) else []

    def _geometry(self, region: int) -> tuple[Square, list[tuple[int, Square]]]:
        return self._square(region), [(other, self._square(other)) for other in self._beside(region)]

    def _square(self, region: int) -> Square:
        square = self.partition.square(region)
        return square.x0, square.z0, square.x1, square.z1

    def _is_running(self, region: int) -> bool:
        """Whether a region is stepped here, and neither on its way nor about to change."""
        here = region in self.core.regions and region not in self.core.frozen
        return here and region not in self.moving.departures and not self.changing.is_changing(region)

    def _ask_of_changes(self, asks: Sequence[Ask], out: ShardOut) -> None:
        out.asks += [("reshaping", ask) for ask in asks]

    def _reshape(self, news: Reshape, now_s: float, out: ShardOut) -> None:
        """Own regions were split or merged, as the store tells."""
        self._ask_of_changes(self.changing.ended(news.former, done=True), out)
        if any(region not in self.core.regions or region in self.core.frozen for region in news.former):
            for region in news.former:
                self._lose(region, now_s, out)
            for region, epoch in news.now:
                self._own(Own(region, epoch, 0), now_s, out)
            return
        if self.on_change is not None:
            self.on_change(news.former, dict(news.now), False)
        self.core.reshape(news.former, dict(news.now), self._geometry)
        if self.on_change is not None:
            self.on_change(news.former, dict(news.now), True)
        for region in news.former:
            self._forget(region)
        for region, epoch in news.now:
            self._went.pop(region, None)
            self._keep(region, epoch)
        self.counts["regions reshaped"] += len(news.former)

    # -------------------------------------------------------------------------------------------------------- moves
    def _move(self, actions: Sequence[moving.Action], now_s: float, out: ShardOut) -> None:
        """Carry out what the moves say."""
        for action in actions:
            match action:
                case moving.Freeze():
                    dump = self.core.freeze_region(action.region)
                    subscribed = self.core.regions[action.region].state.gateways.subscribed
                    gateways = {number: self._gateways[number] for number in subscribed if number in self._gateways}
                    revision = self.member.book.partition_revision
                    self._move(self.moving.frozen(action.region, dump, gateways, revision), now_s, out)
                case moving.Thaw():
                    if action.region in self.core.regions:
                        self.core.thaw_region(action.region)
                case moving.Drop():
                    self.member.gave_away(action.region)
                    if action.to:
                        self._hand_on(action.region, action.to, out)
                    self._forget(action.region)
                    if action.region in self.core.regions:
                        self.core.drop_region(action.region)
                        self.counts["regions moved out"] += 1
                case moving.Tell():
                    out.sends.append(Send(action.member, Kind.MOVE, 0, moving_words.encode(action.word)))
                case moving.WriteOwner() | moving.TakeBack() | moving.Read():
                    ask, more = self.departing.ask(action, now_s)
                    out.asks += [] if ask is None else [("moving", ask)]
                    self._move(more, now_s, out)
                case moving.Load():
                    self._load(action, now_s, out)
                case moving.Discard():
                    if action.region in self.core.frozen:
                        self._drop_lost(action.region)
                case moving.Begin():
                    if self.member.took_over(action.region, action.epoch, action.lease, now_s):
                        self.core.thaw_region(action.region, action.epoch)
                        self._keep(action.region, action.epoch)
                        self.counts["regions moved in"] += 1
                    else:
                        self._drop_lost(action.region)

    def _load(self, load: moving.Load, now_s: float, out: ShardOut) -> None:
        square, neighbours = self._geometry(load.region)
        problem = None
        try:
            self.core.take_region(load.region, load.dump, load.epoch + 1, square, neighbours).regroup(dict(neighbours))
            self._went.pop(load.region, None)
        except ValueError as error:
            problem = str(error)
        self._move(self.moving.loaded(load.region, load.move, problem), now_s, out)

    def _say(self, told: Sequence[FailsafeTell], out: ShardOut) -> None:
        for tell in told:
            out.sends.append(Send(tell.member, Kind.FAILSAFE, 0, failsafe_words.encode(tell.word)))
