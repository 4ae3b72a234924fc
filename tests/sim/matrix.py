"""Datagrams over each kind of bad network, one after the other: cells of a matrix, each a run of its own from a seed.

A cell is a shard, two gateways and some people, all over datagrams, on a network with so much loss and one more fault.
While it lasts, and at its end, when the faults have stopped, all must be right. Each cell also cuts datagrams off for
longer than a client bears, and changes everybody's address. Not responsible for: storms of a cluster (``storms``).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from tests.sim.cluster import TICK_MS, Cluster
from tests.sim.network import Faults
from tests.sim.people import Person
from tests.sim.scenario import settle
from tests.sim.staleness import Staleness

PEOPLE = 5
COME_S = 3.0
BAD_S = 12.0
MOVED_AT_S, CUT_AT_S, CUT_S = 3.0, 8.0, 4.0
SETTLE_S = 14.0
"""Longer than a client waits before it asks for datagrams once more, and than a new view takes to fill."""
CALM_S = 4.0
LOSSES = (0.02, 0.05, 0.2)
WORSE = ("delay", "reordering", "duplication", "a narrow way", "all")
VALUE_S, STRUCTURE_S, FRAME_S = (1.5, 1.5, 2.0), (1.5, 1.5, 2.0), (2.0, 2.0, 4.5)
"""For each loss: so long, at most, is anything shown wrong; and so old is the newest frame. What is not said again is
off until its state is renewed, after 2 s."""
STAND, GO = 0.1, 0.04
"""Chances in a tenth of a second that somebody who walks stands still, and that somebody who stands walks."""


@dataclass(frozen=True, slots=True)
class Cell:
    """``loss``: part of the datagrams each way; ``worse``: what else is wrong."""

    loss: float
    worse: str

    def __str__(self) -> str:
        return f"{self.loss:.0%} loss, {self.worse}"

    def put_on(self, faults: Faults) -> None:
        """From now on a way is so bad."""
        faults.loss = self.loss
        every = self.worse == "all"
        if every or self.worse == "delay":
            faults.delay_ms = 100.0
        if every or self.worse == "reordering":
            faults.reorder = 0.04
        if every or self.worse == "duplication":
            faults.duplicate = 0.1
        if every or self.worse == "a narrow way":
            faults.bytes_per_s = 64_000.0


CELLS = tuple(Cell(loss, worse) for loss, worse in product(LOSSES, WORSE))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a cell came to. Ages in seconds, as ``Staleness`` has them; ``hash`` of all that clients received."""

    cell: str
    hash: str
    counts: Counter[str]
    value_s: float
    structure_s: float
    frame_s: float
    looked: int
    seen: int


def _walk(people: Sequence[Person]) -> None:
    """They stop often: a standing body that was told of as walking walks on for whoever missed that."""
    for person in people:
        core, what = person.core, person.rng.random()
        if not core.connected:
            continue
        if core.velocity == (0.0, 0.0, 0.0):
            if what < GO:
                core.steer_towards(float(person.rng.uniform(0, 7)))
        elif what < STAND:
            core.steer(0.0, 0.0)
        if person.rng.random() < 0.05:
            person.deeds.act(core)


def run(cell: Cell, seed: int) -> Outcome:
    """Raises AssertionError if anything does not hold."""
    carrier, link = Faults(), Faults(delay_ms=1.0, jitter_ms=2.0)
    cluster = Cluster(seed, PEOPLE, link, carrier, datagrams=True)
    air, folk = cluster.folk.air, cluster.folk
    staleness = Staleness(cluster)

    def live(seconds: float) -> None:
        for tick in range(round(1000.0 * seconds / TICK_MS)):
            cluster.run(TICK_MS / 1000.0)
            if not air.down_faults.cut:
                staleness.look(cluster.clock.now_ms)
            if tick % 2:
                _walk(folk.all)

    live(COME_S)
    for faults in (air.up_faults, air.down_faults):
        cell.put_on(faults)
    live(MOVED_AT_S)
    bodies = [person.core.welcome.body for person in folk.all if person.core.welcome is not None]
    assert len(set(bodies)) == PEOPLE, "somebody is not in"
    for endpoint in air.endpoints:
        endpoint.move()
    live(CUT_AT_S - MOVED_AT_S)
    assert all(person.core.on_datagrams for person in folk.all), "somebody was lost with his address"
    air.down_faults.cut = True
    air.up_faults.cut = bool(seed % 2)
    live(CUT_S)
    assert not any(person.core.on_datagrams for person in folk.all), "somebody is told nothing, and stays"
    staleness.forget()
    air.down_faults.cut = air.up_faults.cut = False
    live(BAD_S - CUT_AT_S)
    live(SETTLE_S)
    most = LOSSES.index(cell.loss)
    assert staleness.value_s <= VALUE_S[most], f"{cell}: a value was off for {staleness.value_s:.2f} s"
    assert staleness.structure_s <= STRUCTURE_S[most], f"{cell}: a structure was due for {staleness.structure_s:.2f} s"
    assert staleness.frame_s <= FRAME_S[most], f"{cell}: nothing new was shown for {staleness.frame_s:.2f} s"
    air.calm()
    live(CALM_S)
    seen = settle(cluster, folk.all)
    assert bodies == [person.core.welcome.body for person in folk.all if person.core.welcome is not None]
    assert all(person.core.on_datagrams for person in folk.all), "somebody has not come back to datagrams"
    folk.tally()
    for person in folk.all:
        cluster.counts.update(person.events)
    return Outcome(
        str(cell), cluster.digest(), cluster.counts, staleness.value_s, staleness.structure_s, staleness.frame_s,
        staleness.looked, seen,
    )  # fmt: skip


def table(outcomes: Iterable[Outcome]) -> str:
    """For people; raises what a cell raises."""
    head = f"{'each way':<30}{'worst value':>12}{'structure':>11}{'frame (s)':>11}{'entities':>10}"
    rows = (f"{o.cell:<30}{o.value_s:>12.2f}{o.structure_s:>11.2f}{o.frame_s:>11.2f}{o.looked:>10,}" for o in outcomes)
    return "\n".join([head, *rows])
