"""What cameras may know of the world: the mirror, asked in metres and names.

Decides which entities count for a director: people fully, other things that move a little. Invariant: reads only. Not
responsible for: what is mirrored (``regions``), which camera looks where (``cameras``).
"""

from typing import Any

import numpy as np

from protocol.layouts import GRID_PER_M, VELOCITY_PER_GRID
from protocol.messages import unpack
from server.core.director import PERSON_WEIGHT, Crowd
from server.core.mirror import Mirror

THING_WEIGHT = 0.1
NAMES_READ_MAX = 256
"""Entities whose components are read in one search for a name."""
Metres = tuple[float, float, float]


class Sight:
    """A mirror as cameras see it at its present tick. ``person``: the number of the kind of people's bodies."""

    def __init__(self, mirror: Mirror, schema: dict[str, Any], person: int, rate_hz: int) -> None:
        self.mirror = mirror
        self._schema = schema
        self._person = person
        self._units_to_m_s = rate_hz / (VELOCITY_PER_GRID * GRID_PER_M)

    def crowd(self) -> Crowd:
        """All that is mirrored."""
        hot, cold = self.mirror.hot[: self.mirror.high], self.mirror.cold[: self.mirror.high]
        rows = np.flatnonzero(hot["serial"])
        v = np.stack([cold["vx"][rows], cold["vy"][rows], cold["vz"][rows]]).astype(np.float64)
        speed = np.sqrt((v * v).sum(axis=0)) * self._units_to_m_s
        return Crowd(
            x=hot["x"][rows] / GRID_PER_M,
            y=cold["py"][rows] / GRID_PER_M,
            z=hot["z"][rows] / GRID_PER_M,
            speed=speed,
            weight=np.where(cold["kind"][rows] == self._person, PERSON_WEIGHT, THING_WEIGHT),
        )

    def place(self, entity: int) -> Metres | None:
        """Where an entity is shown now, metres; None if it is not mirrored."""
        row = self.mirror.row_of(entity)
        if row < 0:
            return None
        hot, cold = self.mirror.hot[row], self.mirror.cold[row]
        return int(hot["x"]) / GRID_PER_M, int(cold["py"]) / GRID_PER_M, int(hot["z"]) / GRID_PER_M

    def find(self, kind: str, name: str) -> int | None:
        """The entity of this kind, and with this name if that is not empty; the one with the least id."""
        numbers = [number for number, known in self._schema["kinds"] if known == kind]
        hot, cold = self.mirror.hot[: self.mirror.high], self.mirror.cold[: self.mirror.high]
        rows = np.flatnonzero((hot["serial"] != 0) & np.isin(cold["kind"], numbers))
        rows = rows[np.argsort(cold["id"][rows])]
        if name:
            rows = np.array([row for row in rows[:NAMES_READ_MAX] if self.name(int(cold["id"][row])) == name], np.int64)
        return int(cold["id"][rows[0]]) if len(rows) else None

    def name(self, entity: int) -> str:
        """The component ``name`` of an entity; empty if it has none."""
        row = self.mirror.row_of(entity)
        keys = [entry[0] for entry in self._schema["components"] if entry[1] == "name"]
        if row < 0 or not keys:
            return ""
        at, size = int(self.mirror.cold["full_at"][row]), int(self.mirror.cold["full_bytes"][row])
        value = unpack(self.mirror.blobs[at : at + size].tobytes()).get(keys[0]) if size else None
        return value if isinstance(value, str) else ""
