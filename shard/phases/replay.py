"""Instead of phases 2 to 4, for measurements: motion played back from arrays.

Invariants: entity i is row i; tick t of the world is row ``t mod ticks`` of the arrays; bodies of sessions are entities
in order (client i's body is entity i); commands are acknowledged and move nothing. Not responsible for: reading files.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from shard.state import ShardState
from shard.world.table import Table

FloatArray = npt.NDArray[np.floating[Any]]


class ReplayMotion:
    """``position``, ``velocity`` [ticks, entities, 3] (m, m/s) and ``yaw`` [ticks, entities] (rad), any float dtype."""

    def __init__(self, position: FloatArray, velocity: FloatArray, yaw: FloatArray) -> None:
        """Raises ValueError if shapes differ or there is nothing to replay."""
        if position.ndim != 3 or position.shape[2] != 3 or 0 in position.shape:
            raise ValueError(f"replay: position must be [ticks, entities, 3], got {position.shape}")
        if velocity.shape != position.shape or yaw.shape != position.shape[:2]:
            raise ValueError(f"replay: velocity {velocity.shape} and yaw {yaw.shape} do not fit {position.shape}")
        self.position = position
        self.velocity = velocity
        self.yaw = yaw
        self._claimed = 0

    @property
    def entities(self) -> int:
        return int(self.position.shape[1])

    def claim(self, table: Table) -> int | str:
        """The next entity that is nobody's body, or why there is none."""
        session = table.columns["o.session"]
        for k in range(self.entities):
            row = (self._claimed + k) % self.entities
            if session[row] == 0:
                self._claimed = row + 1
                return row
        return f"all {self.entities} replayed entities are somebody's body"


def start(state: ShardState, replay: ReplayMotion) -> None:
    """All entities enter an empty world."""
    rows = state.begin(1, state.ids.take(replay.entities), {})
    assert int(rows[0]) == 0
    assert int(rows[-1]) == replay.entities - 1


def run(state: ShardState, replay: ReplayMotion) -> None:
    """Set where everybody is at this tick, and take all commands as done."""
    table = state.table
    at = state.tick % replay.position.shape[0]
    count = replay.entities
    table.pos[:count] = replay.position[at]
    table.vel[:count] = replay.velocity[at]
    table.yaw[:count] = replay.yaw[at]
    columns = table.columns
    heard = columns["q.heard"][:count].astype(bool)
    columns["o.seq"][:count][heard] = columns["q.newest"][:count][heard]
    columns["q.queued"][:count] = 0
    columns["q.done"][:count] = 0
