"""What people ask to be done once, and the account of it: by their bodies (``world.script``), and by what they were
told.

Decides what must hold of acts: no body has done anything twice; what was answered is in the body that was there all
along; in a durable world nothing is told before it is stored. Not responsible for: when people act (``people``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from client import ActAnswered, ActLost, ClientCore, ClientEvent, Welcomed
from protocol.limits import ACTS_UNANSWERED_MAX
from shard.acting import Answered
from shard.region import RegionCore
from tests.sim.hosts import Host


@dataclass(slots=True)
class Deeds:
    """One person's, by their keys at its client."""

    said: int = 0
    waiting: dict[int, int] = field(default_factory=dict)
    """Key: number of the deed."""
    answered: int = 0
    """By the body that it has now."""
    lost: int = 0
    """Whose body was gone."""
    body: int | None = None

    def act(self, core: ClientCore) -> None:
        """One more, if there is room."""
        if len(self.waiting) < ACTS_UNANSWERED_MAX:
            self.said += 1
            self.waiting[core.act("deed", self.said)] = self.said

    def heard(self, event: ClientEvent) -> None:
        """What the client reports."""
        match event:
            case ActAnswered(act, code, value):
                assert code == 0, f"a deed was refused: {code} {value}"
                del self.waiting[act]
                self.answered += 1
            case ActLost(act):
                del self.waiting[act]
                self.lost += 1
            case Welcomed(welcome) if welcome.body != self.body:
                self.body, self.answered = welcome.body, 0


class Journal:
    """The durable store of a world that has one: what it has stored, and that nothing else is told."""

    def __init__(self) -> None:
        self.stored: set[tuple[int, int]] = set()
        """(session, number)."""
        self.counted = 0
        self._due_s: dict[Host, float] = {}

    def due_s(self, host: Host, wished_s: float) -> float:
        """When it has stored what a shard answers now: in order, however long it takes over one entry."""
        due_s = self._due_s[host] = max(wished_s, self._due_s.get(host, 0.0))
        return due_s

    def store(self, host: Host, answered: Sequence[tuple[int, int, Answered]]) -> None:
        """A step's answers are stored for good, and their shard hears of it; not if its process has died before."""
        if host.shard is None or host.dead:
            return
        for region, born, answer in answered:
            self.stored.add((answer.session, answer.number))
            self.counted += 1
            host.shard.core.committed(region, born, answer.journal)

    def check(self, session: int, number: int) -> None:
        """A client is told."""
        assert (session, number) in self.stored, f"act {number} of session {session} was answered, and is not stored"


def done(cores: Iterable[RegionCore], body: int) -> tuple[int, int] | None:
    """How many deeds a body has done, and how many of them twice; None if it is nowhere."""
    for core in cores:
        table = core.state.table
        row = table.row(body)
        if row >= 0 and not table.ghost[row]:
            count, doubled = (np.asarray(table.columns[f"c.deeds_{what}"])[row] for what in ("count", "doubled"))
            return int(count), int(doubled)
    return None
