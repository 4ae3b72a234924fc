"""What people ask to be done once, and the account of it: by their bodies (``world.script``), and by what they were
told.

Decides what must hold of acts: no body has done anything twice; what was answered is in the body that was there all
along; in a durable world nothing is told before it is stored. Not responsible for: when people act (``people``).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from client import ActAnswered, ActLost, ClientCore, ClientEvent, Welcomed
from protocol.limits import ACTS_UNANSWERED_MAX
from shard.region import RegionCore


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


def done(cores: Iterable[RegionCore], body: int) -> tuple[int, int] | None:
    """How many deeds a body has done, and how many of them twice; None if it is nowhere."""
    for core in cores:
        table = core.state.table
        row = table.row(body)
        if row >= 0 and not table.ghost[row]:
            count, doubled = (np.asarray(table.columns[f"c.deeds_{what}"])[row] for what in ("count", "doubled"))
            return int(count), int(doubled)
    return None
