"""A gateway process without its I/O: membership and the gateway's core, composed. Told what the store, the links and
the clock say; returns what to ask and to send.

Decides which region's messages go to whom, and which deltas count: of a region whose newer epoch is known, none of an
older. Invariants: messages of a tick go to the owners as the book knows them then; what finds no owner is said again
by the core, not kept here. Not responsible for: rules of sessions and views (``server.core``), sockets of clients,
reaching anybody.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from cluster.asks import Answer, Ask
from cluster.failsafe import FailsafeCore, Tell
from cluster.member import MemberCore
from cluster.moves import Moves
from cluster.orders import Orders
from cluster.out import Out
from cluster.records import MemberRecord
from cluster.regions import Layout
from cluster.store.contract import WatchItem
from protocol import failsafe as failsafe_words
from protocol import mesh
from protocol.carried import Kind, Send
from protocol.codes import ProtocolViolation
from protocol.link import RegionDelta
from server.core.gateway import GatewayCore
from server.sending import Rules, Sender

LOOK_S = 1.0
"""So often is looked at who should go on at another gateway, and the record told."""


class GatewayProcess:
    """One gateway of a cluster."""

    def __init__(
        self,
        name: str,
        record: MemberRecord,
        layout: Layout,
        core: GatewayCore,
        lease_s: int = 3,
        rules: Rules | None = None,
    ) -> None:
        self.name = name
        self.layout = layout
        self.core = core
        self.member = MemberCore(name, record, lease_s)
        self.failsafe = FailsafeCore(name)
        self.moves = Moves()
        self.sender = Sender(name, core, Rules() if rules is None else rules)
        self._partition = core.partition
        self._looked_s = float("-inf")
        self.counts: Counter[str] = Counter()
        """For metrics: messages dropped by reason."""
        self.due: set[int] = set()
        """Regions that are mirrored and have not told of the current tick yet."""
        self.tick_now = 0
        core.regions.unreachable = self._is_unreachable
        self._gone: set[str] = set()
        """Members whose link is down."""
        self._gateways: dict[int, str] = {}
        """Members by the numbers that their gateways go by now."""
        self.on_heard: Callable[[], None] = lambda: None
        """Called when all mirrored regions have told of the current tick."""
        self.load = 0.0
        """Part of a tick that this process works; set by the shell."""
        self.bytes_per_s = 0.0
        """What clients are sent; set by the shell."""
        self._obeyed: Orders | None = None

    @property
    def gateways_addressed(self) -> int:
        """For metrics: numbers of other gateways that are known here."""
        return len(self._gateways)

    def gateway_name(self, number: int) -> str | None:
        """The member's name of another gateway's number."""
        return self._gateways.get(number)

    # ---------------------------------------------------------------------------------------------------- the store
    def watched(self, item: WatchItem, now_s: float) -> Out:
        """The watch of the namespace told something."""
        out = Out()
        self._follow(self.member.watched(item, now_s), out)
        partition = self.member.book.partition(self.layout)
        if partition is not self._partition:
            self._partition = partition
            self.core.regroup(partition, now_s)
        self.moves.watched(self.member.book, now_s)
        if self._obeyed is not self.member.book.orders:
            self._obeyed = self.member.book.orders
            self.core.obey(self._obeyed, now_s)
        return out

    def answered(self, whose: str, number: int, answer: Answer, now_s: float) -> Out:
        """The answer to ``asks``; ``whose`` and the number as they were given there."""
        out = Out()
        self._follow(self.member.answered(number, answer, now_s), out)
        return out

    # ---------------------------------------------------------------------------------------------------- the links
    def received(self, member: str, kind: Kind, data: bytes, now_s: float) -> Out:
        """A message of another member. Raises ProtocolViolation: the link must then be reset."""
        out = Out()
        self._gone.discard(member)
        match kind:
            case Kind.DELTA:
                delta = RegionDelta.decode(data)
                if self.member.book.is_stale(delta.region, delta.epoch):
                    self.counts["delta of an older epoch"] += 1
                    return out
                self.member.book.saw(delta.region, delta.epoch)
                self.core.receive(delta, now_s)
                if delta.tick >= self.tick_now:
                    self.due.discard(delta.region)
                    if not self.due:
                        self.on_heard()
            case Kind.MESH:
                said = mesh.decode(data)
                if self._gateways.get(said.gateway) != member:
                    # Each life of a gateway has a number of its own: the one before is over.
                    self._gateways = {number: name for number, name in self._gateways.items() if name != member}
                    self._gateways[said.gateway] = member
                self.core.told(said, now_s)
            case Kind.FAILSAFE:
                word = failsafe_words.decode(data)
                book, answered_s = self.member.book, self.member.answered_s
                self._say(self.failsafe.heard(member, word, book, answered_s, now_s), out)
            case _:
                raise ProtocolViolation("link", f"a gateway takes no messages of kind {kind.name}")
        return out

    def link_up(self, member: str, now_s: float) -> Out:
        """There is a link to a member: its regions can be reached, whether or not they have anything to say to us. What
        they were asked before is asked again at once: a member that does not know this one yet ends its first link."""
        self._gone.discard(member)
        owner = self.member.book.owner
        self.core.regions.reached(
            [n for n in self.core.regions.links if (own := owner(n)) and own.name == member], now_s
        )
        return Out()

    def link_down(self, member: str, now_s: float) -> Out:
        """The link to a member broke: its regions are asked anew when they are silent."""
        self._gone.add(member)
        return Out()

    def link_refused(self, member: str, generation: int, address: str, now_s: float) -> Out:
        """A member that ended its link listens no more where it did."""
        out = Out()
        self._follow(self.member.refused(member, generation, address, now_s), out)
        return out

    # ----------------------------------------------------------------------------------------------------- the clock
    def tick(self, tick: int, now_s: float) -> Out:
        """The world's ``tick`` begins: what clients said goes to the regions."""
        out = Out()
        self.tick_now = tick
        book = self.member.book
        self._say(self.failsafe.tick(book, self.member.claims, self.member.answered_s, now_s), out)
        self._follow(self.member.tick(now_s), out)
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            regions = {region: float(count) for region, count in self.sender.look(book, now_s).items()}
            self.member.report(self.load, regions, self.core.sessions.held, bytes_per_s=self.bytes_per_s)
        for region, data in self.core.upward(tick):
            owner = book.owner(region)
            if owner is None:
                self.counts["upward without an owner"] += 1
            else:
                out.sends.append(Send(owner.name, Kind.UPWARD, region, data))
        self._tell_gateways(now_s, out)
        self.due = {region for region in self.core.mirror.regions if book.owner(region) is not None}
        return out

    def _is_unreachable(self, region: int) -> bool:
        owner = self.member.book.owner(region)
        return owner is None or owner.name in self._gone

    def _tell_gateways(self, now_s: float, out: Out) -> None:
        fellows = [member.name for member in self.member.book.gateways() if member.name != self.name]
        self._gateways = {number: name for number, name in self._gateways.items() if name in fellows}
        for number, word in self.core.sessions.to_tell(now_s):
            names = fellows if number is None else [self._gateways[number]] if number in self._gateways else []
            for name in names:
                out.sends.append(Send(name, Kind.MESH, 0, mesh.encode(word)))

    # ------------------------------------------------------------------------------------------------------ draining
    def drain(self, now_s: float) -> float:
        """Send all clients to other gateways. Returns how long that may take, in seconds; 0 if there is none to send
        them to."""
        return self.sender.drain(self.member.book, now_s)

    def origins(self) -> frozenset[str]:
        """Whose pages may connect here, too: those that the cluster's other gateways served."""
        return frozenset(m.record.url.rstrip("/").lower() for m in self.member.book.gateways() if m.record.url)

    def leave(self, now_s: float) -> Out:
        """End: the lease is given back."""
        out = Out()
        self._follow(self.member.leave(), out)
        return out

    def _follow(self, actions: Sequence[object], out: Out) -> None:
        out.asks += [("member", action) for action in actions if isinstance(action, Ask)]

    def _say(self, told: Sequence[Tell], out: Out) -> None:
        self.member.failsafe_until_s = self.failsafe.until_s
        for tell in told:
            out.sends.append(Send(tell.member, Kind.FAILSAFE, 0, failsafe_words.encode(tell.word)))
