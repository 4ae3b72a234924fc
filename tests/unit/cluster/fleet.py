"""Members, a placer and a store on virtual time, each with a clock of its own, over a bad network: what the tests of
ownership run. Time is ``now_s``; a member's own clock is that plus its offset."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from cluster.asks import Answer, Ask
from cluster.failsafe import FailsafeCore, Tell
from cluster.member import Lose, MemberCore, Own, Reshape
from cluster.moving import Moving
from cluster.partition import Partition
from cluster.placer import AskMove, PlacerCore
from cluster.records import KIND_PLACER, REGIONS, SHARD, MemberRecord, region_of
from cluster.regions import Layout
from cluster.store.model import WatchCursor
from protocol.failsafe import Word, decode, encode
from tests.sim.storefront import StoreFront

STEP_S = 0.05


@dataclass(eq=False)
class Process:
    """One process: its cores, its clock, and whether it runs."""

    name: str
    member: MemberCore
    offset_s: float
    placer: PlacerCore | None = None
    failsafe: FailsafeCore | None = None
    moving: Moving = field(default_factory=Moving)
    paused: bool = False
    dead: bool = False
    cursor: WatchCursor | None = None
    stepped: dict[int, int] = field(default_factory=dict)
    """Regions that it steps, with their epochs: what a shard would do with Own and Lose."""


class Fleet:
    """All of it. ``cut``: pairs (from, to) between which nothing passes; "store" is a name like the others. ``deaf``:
    whose watches tell nothing, though their questions are answered."""

    def __init__(
        self,
        seed: int,
        shards: int = 3,
        level: int = 1,
        member: Callable[[str, MemberRecord], MemberCore] = MemberCore,
        placer: Callable[[Layout], PlacerCore] = PlacerCore,
        failsafe: Callable[[str], FailsafeCore] = FailsafeCore,
        placers: int = 2,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.now_s = 100.0
        self.layout = Layout(256.0, level)
        self.link_loss = 0.0
        self.cut: set[tuple[str, str]] = set()
        self.deaf: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.front = StoreFront(self.rng, self.later, lambda: self.now_s, self.passes, self.counts)
        self.store = self.front.core
        self.highest: Counter[int] = Counter()
        self._make = member, placer, failsafe
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._lives = 0
        self.processes: dict[str, Process] = {}
        for k in range(shards):
            self.begin(f"s{k}", SHARD)
        for k in range(placers):
            self.begin(f"p{k}", KIND_PLACER)

    def begin(self, name: str, kind: str) -> None:
        """A process starts, perhaps again under its old name."""
        member, placer, failsafe = self._make
        self._lives += 1
        core = member(name, MemberRecord(kind, f"link-{name}", generation=self._lives))
        offset_s = float(self.rng.uniform(-50, 50))
        process = Process(name, core, offset_s, failsafe=failsafe(name))
        if kind == KIND_PLACER:
            process.placer = placer(self.layout)
        process.cursor = self.store.watch("")
        self.processes[name] = process

    def kill(self, name: str) -> None:
        """As kill -9."""
        self.processes[name].dead = True
        self.counts["killed"] += 1

    def refuse(self, dead: Process) -> None:
        """Everybody who lives finds that a process has ended its link and listens no more."""
        record = dead.member.record
        for process in self.processes.values():
            if process is not dead and not process.dead and not process.paused:
                now_s = self.now_s + process.offset_s
                found = process.member.refused(dead.name, record.generation, record.link, now_s)
                self.counts["revoked"] += len(found)
                self.do(process, found)

    def passes(self, source: str, target: str) -> bool:
        return (source, target) not in self.cut

    def isolate(self, name: str, others: Sequence[str]) -> None:
        """Cut a name off from others, both ways."""
        self.cut |= {(name, other) for other in others} | {(other, name) for other in others}

    def later(self, delay_s: float, do: Callable[[], None]) -> None:
        self._sequence += 1
        self._events.append((self.now_s + delay_s, self._sequence, do))

    # -------------------------------------------------------------------------------------------------- the store
    def _ask(self, process: Process, ask: Ask, to: Callable[[int, Answer, float], Sequence[object]]) -> None:
        def deliver(answer: Answer) -> None:
            if process.dead or self.processes[process.name] is not process:
                return
            if process.paused:
                self.later(STEP_S, lambda: deliver(answer))
            else:
                self.do(process, to(ask.number, answer, self.now_s + process.offset_s))

        self.front.ask(process.name, ask.question, self.now_s + process.offset_s, deliver)

    # ------------------------------------------------------------------------------------------------- what they do
    def do(self, process: Process, actions: Sequence[object]) -> None:
        for action in actions:
            match action:
                case Ask():
                    self._ask(process, action, process.member.answered)
                case Own():
                    assert action.epoch > self.highest[action.region], "an epoch went back, or began twice"
                    self.highest[action.region] = action.epoch
                    process.stepped[action.region] = action.epoch
                    self.counts["owned again" if action.again else "owned"] += 1
                case Reshape():
                    for region in action.former:
                        del process.stepped[region]
                    for region, epoch in action.now:
                        assert epoch > max(self.highest[other] for other in (region, *action.former))
                        self.highest[region] = process.stepped[region] = epoch
                    self.counts["reshaped"] += 1
                case Lose():
                    process.stepped.pop(action.region, None)
                    self.counts["lost"] += 1
                case Tell():
                    self._send(process, action.member, encode(action.word))
                case AskMove():
                    self.counts["move asked"] += 1

    def _placed(self, process: Process, actions: Sequence[object]) -> None:
        assert process.placer is not None
        for action in actions:
            if isinstance(action, Ask):
                self._ask(process, action, process.placer.answered)
            else:
                self.do(process, [action])

    def _send(self, source: Process, target: str, data: bytes) -> None:
        if not self.passes(source.name, target) or self.rng.random() < self.link_loss:
            return

        def arrive() -> None:
            process = self.processes.get(target)
            if process is None or process.dead or process.failsafe is None:
                return
            if process.paused:
                self.later(STEP_S, arrive)
                return
            word: Word = decode(data)
            member, now_s = process.member, self.now_s + process.offset_s
            self.do(process, process.failsafe.heard(source.name, word, member.book, member.answered_s, now_s))
            member.failsafe_until_s = process.failsafe.until_s

        self.later(float(self.rng.uniform(0.0, 0.03)), arrive)

    def step(self) -> None:
        """STEP_S of time passes."""
        end_s = self.now_s + STEP_S
        while self._events and min(self._events)[0] <= end_s:
            event = min(self._events)
            self._events.remove(event)
            self.now_s = max(self.now_s, event[0])
            event[2]()
            self.check()
        self.now_s = end_s
        self.store.advance(self.now_s)
        for process in self.processes.values():
            if not process.dead and not process.paused:
                self._run(process)
        self.check()

    def _run(self, process: Process) -> None:
        now_s, member = self.now_s + process.offset_s, process.member
        assert process.cursor is not None
        hears = self.passes("store", process.name) and self.passes(process.name, "store")
        if hears and process.name not in self.deaf:
            for item in self.store.poll(process.cursor):
                self.do(process, member.watched(item, now_s))
        if process.failsafe is not None:
            told = process.failsafe.tick(member.book, member.claims, member.answered_s, now_s)
            member.failsafe_until_s = process.failsafe.until_s
            self.do(process, told)
        self.do(process, member.tick(now_s))
        if process.placer is not None:
            self._placed(process, process.placer.tick(member, now_s))

    def acting(self) -> dict[int, list[str]]:
        """Who may act for each region now, paused processes included: they would act if they woke up at this moment."""
        found: dict[int, list[str]] = {}
        for process in self.processes.values():
            if not process.dead:
                for region in process.member.owned(self.now_s + process.offset_s):
                    found.setdefault(region, []).append(process.name)
        return found

    def check(self) -> None:
        for region, names in self.acting().items():
            assert len(names) == 1, f"region {region} is acted on by {names} at {self.now_s:.2f} s"

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.step()

    @property
    def partition(self) -> Partition:
        """The regions as the store has them."""
        return Partition.of(self.layout, [region_of(record.key) for record in self.store.list(REGIONS).records])

    def all_owned(self) -> bool:
        return set(self.acting()) == set(self.partition.all())
