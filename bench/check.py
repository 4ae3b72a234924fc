"""Judges one client's stream against the truth at each tick (``probe`` follows servers with it).

Sessions get the replayed entities as bodies in the order in which they join, and entities have consecutive ids in file
order, so the body's id in WELCOME says which entity the client is, and any id which entity it means. A tick is
checked when a message of a later tick has come: then all that the server had to say about it is known, also when it
said nothing because nothing was due. That holds over datagrams, too, as long as none is lost, as on loopback none is.
A tick of which no probe heard was not stepped to (a late server makes one step over several ticks): it is not judged,
and is missing among the ticks counted, by which the run did not hold.

Wrong is: an entity within the radius that is not shown, one shown beyond the leave radius, an unknown id, a position
off by more than ERROR_MAX_M, a rule of the standard broken. Not responsible for: p99.9 against its target (``report``).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.trajectory import Trajectory
from bench.wire import FRAME, NUMBERED, STRUCTURE, View, WireError
from bench.wire_values import VALUES
from protocol.messages import T_CLOSE, T_WELCOME

ERROR_MAX_M = 0.05
"""An entity that is off by more is in a wrong place, not merely rounded or a little late."""
EDGE_M = 0.1
"""Who is this near to a radius may be on either side of it: the server judges by published, rounded positions."""
LEAVE_FACTOR = 1.1
"""An entity may stay in view up to this multiple of the radius (hysteresis)."""
FIRST_ID = 1
"""Id of the trajectory's first entity."""


@dataclass
class Check:
    """The verdict on one client's stream over the window; without a trajectory, on the standard's rules alone."""

    motion: Trajectory | None
    index: int
    """Of the client, and from WELCOME on of its body in the trajectory."""
    view: View = field(default_factory=View)
    radius_m: float = 0.0
    tick: int | None = None
    on: bool = False
    ticks: int = 0
    pairs: int = 0
    violations: int = 0
    first_violation: str | None = None
    stepped: set[int] = field(default_factory=set)
    """Ticks that any probe heard of; all share it."""
    errors: list[npt.NDArray[np.float64]] = field(default_factory=list)

    def begin(self) -> None:
        """Start counting."""
        self.on, self.ticks, self.pairs, self.violations = True, 0, 0, 0
        self.first_violation = None
        self.errors = []

    def wrong(self, what: str) -> None:
        """Count a violation."""
        self.violations += 1
        self.first_violation = self.first_violation or f"client {self.index}: {what}"

    def message(self, items: list[Any]) -> None:
        """Take one message of the stream."""
        kind = items[0]
        if kind == T_WELCOME:
            if self.motion is not None:
                self.index = (items[1]["body"] or 0) - FIRST_ID
            self.radius_m = items[1]["radius_m"]
        if kind == T_CLOSE:
            self.wrong(f"closed by the server: {items[1:]}")
        try:
            if kind in NUMBERED:
                self.view.count_structure(items[1])
            if kind == STRUCTURE:
                self._reach(items[2])
                self.view.structure(items)
            elif kind in (FRAME, VALUES):
                self._reach(items[3])
                own = self.view.frame_values(items)
                if own is not None and self.on:
                    self._errors(items[3], own[None, :], np.array([self.index]), "its own body")
        except WireError as error:
            self.wrong(str(error))

    def _reach(self, tick: int) -> None:
        """Check all ticks before this one, which are complete now."""
        if self.tick is not None and self.on:
            for past in range(self.tick, tick):
                self._check(past)
        if self.tick is not None and tick < self.tick:
            self.wrong(f"tick {tick} came after {self.tick}")
        self.tick = tick
        self.stepped.add(tick)

    def _check(self, tick: int) -> None:
        if tick not in self.stepped:
            return
        if self.motion is None:
            self.ticks += 1
            self.pairs += int(np.count_nonzero(self.view.live))
            return
        row, header = self.motion.row(tick), self.motion.header
        x, z = self.motion.x[row].astype(np.float64), self.motion.z[row].astype(np.float64)
        distance = np.hypot(x - x[self.index], z - z[self.index])
        numbers = np.flatnonzero(self.view.live)
        entities = self.view.id[numbers].astype(np.int64) - FIRST_ID
        if ((entities < 0) | (entities >= header.entities)).any():
            self.wrong(f"tick {tick}: an entity is shown that is not of the trajectory")
            return
        shown = np.zeros(header.entities, np.bool_)
        shown[entities] = True
        shown[self.index] = True  # one's own body is told in FRAME's `own` and never enters
        missing = np.flatnonzero(~shown & (distance < self.radius_m - EDGE_M))
        if len(missing):
            at = distance[missing[0]]
            self.wrong(f"tick {tick}: {len(missing)} missing, among them entity {missing[0]} at {at:.2f} m")
        extra = np.flatnonzero(shown & (distance > self.radius_m * LEAVE_FACTOR + EDGE_M))
        if len(extra):
            self.wrong(
                f"tick {tick}: {len(extra)} too many, among them entity {extra[0]} at {distance[extra[0]]:.2f} m"
            )
        self._errors(tick, self.view.shown(numbers, tick), entities, "entity")
        self.ticks += 1
        self.pairs += int(np.count_nonzero(distance <= self.radius_m))

    def _errors(self, tick: int, shown: npt.NDArray[np.float64], entities: npt.NDArray[np.int64], what: str) -> None:
        if self.motion is None:
            return
        error = np.linalg.norm(shown - self.motion.positions(tick)[entities], axis=1)
        self.errors.append(error)
        if len(error) and (worst := int(np.argmax(error))) >= 0 and error[worst] > ERROR_MAX_M:
            self.wrong(f"tick {tick}: {what} {entities[worst]} is off by {error[worst]:.3f} m")


def verdict(checks: list[Check]) -> dict[str, Any]:
    """What all probes found, together."""
    errors = np.concatenate([np.zeros(1), *(error for check in checks for error in check.errors)])
    views = [check.view for check in checks]
    return {
        "event": "ended",
        "probes": len(checks),
        "ticks": sum(check.ticks for check in checks),
        "ticks_min": min(check.ticks for check in checks),
        "pairs": sum(check.pairs for check in checks),
        "violations": sum(check.violations for check in checks),
        "first_violation": next((check.first_violation for check in checks if check.first_violation), None),
        "error_p999_m": float(np.quantile(errors, 0.999)),
        "error_max_m": float(errors.max()),
        "enters": sum(view.enters for view in views),
        "leaves": sum(view.leaves for view in views),
        "deltas": sum(view.deltas for view in views),
        "fulls": sum(view.fulls for view in views),
    }
