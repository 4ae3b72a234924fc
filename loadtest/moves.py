"""Where bodies go: strategies that steer one client each, told the time, drawing from a seed.

Decides paths. Invariant: a strategy is asked a few times a second and changes nothing but what the client wants. Not
responsible for: when it is asked, walls (a body that is stopped by one turns away by itself).
"""

from math import atan2, cos, hypot, sin, sqrt, tau
from typing import Protocol

import numpy as np

from client.core import ClientCore
from client.wanderer import Wanderer
from loadtest.scenario import Move
from protocol.layouts import BUTTON_RUN

ARRIVED_M = 2.0
REST_MS = (500.0, 3000.0)


class Mover(Protocol):
    """Steers one client."""

    def steer(self, core: ClientCore, at_ms: float) -> None:
        """Decide anew where to go."""


class Standing:
    """Goes nowhere."""

    def steer(self, core: ClientCore, at_ms: float) -> None:
        """See Mover."""


class Gathering:
    """Goes to a place in a circle, stays a moment, goes to another one."""

    def __init__(self, move: Move, rng: np.random.Generator) -> None:
        self._move, self._rng = move, rng
        self._goal = self._draw()
        self._rest_until_ms = 0.0

    def _draw(self) -> tuple[float, float]:
        radius_m, angle = self._move.radius_m * sqrt(self._rng.random()), tau * self._rng.random()
        return self._move.centre_m[0] + radius_m * cos(angle), self._move.centre_m[1] + radius_m * sin(angle)

    def steer(self, core: ClientCore, at_ms: float) -> None:
        """See Mover."""
        here = core.position
        if here is None or at_ms < self._rest_until_ms:
            return
        dx, dz = self._goal[0] - here[0], self._goal[1] - here[2]
        if hypot(dx, dz) < ARRIVED_M:
            self._goal = self._draw()
            self._rest_until_ms = at_ms + float(self._rng.uniform(*REST_MS))
            core.steer(0.0, 0.0, core.yaw)
            return
        core.steer_towards(atan2(-dx, -dz), 1.0, BUTTON_RUN if self._move.run else 0)


class Oscillating:
    """Goes to and fro along x, over whatever border lies at the centre; each on a line of its own."""

    def __init__(self, move: Move, rng: np.random.Generator) -> None:
        self._move = move
        self._z = move.centre_m[1] + float(rng.uniform(-move.radius_m, move.radius_m))
        self._side = 1.0 if rng.random() < 0.5 else -1.0

    def steer(self, core: ClientCore, at_ms: float) -> None:
        """See Mover."""
        here = core.position
        if here is None:
            return
        dx = self._move.centre_m[0] + self._side * self._move.radius_m - here[0]
        if abs(dx) < ARRIVED_M:
            self._side = -self._side
            dx = self._move.centre_m[0] + self._side * self._move.radius_m - here[0]
        dz = max(-1.0, min(1.0, self._z - here[2])) * abs(dx) * 0.2
        core.steer_towards(atan2(-dx, -dz), 1.0, BUTTON_RUN if self._move.run else 0)


def mover(move: Move, rng: np.random.Generator) -> Mover:
    """What a scenario asks for."""
    match move.how:
        case "gather":
            return Gathering(move, rng)
        case "oscillate":
            return Oscillating(move, rng)
        case "wander":
            return Wanderer(rng)
        case "stand":
            return Standing()
