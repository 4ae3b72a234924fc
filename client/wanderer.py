"""Somebody who walks about without a person behind it: for bots, soaks and load.

Decides where such a body goes next. Invariants: told times in milliseconds, draws from its own seed, so that a run
replays. Not responsible for: when it is asked, anything but steering.
"""

from math import hypot, tau

import numpy as np

from client.core import ClientCore
from protocol.layouts import BUTTON_RUN
from protocol.walking import WALK


class Wanderer:
    """Walks straight on with slow turns; turns away where a wall stops it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.heading = float(rng.uniform(0.0, tau))
        self.runs = bool(rng.random() < 0.1)
        self._pause_until_ms = 0.0

    def steer(self, core: ClientCore, at_ms: float) -> None:
        """Decide anew where to go."""
        rng = self._rng
        vx, _, vz = core.velocity
        if at_ms < self._pause_until_ms:
            return
        if rng.random() < 0.01:
            self._pause_until_ms = at_ms + float(rng.uniform(1000.0, 5000.0))
            core.steer(0.0, 0.0, self.heading)
            return
        if hypot(vx, vz) < 0.5 * WALK:
            self.heading += float(rng.choice((-1.0, 1.0)) * rng.uniform(tau / 8, tau / 3))
        else:
            self.heading += float(rng.normal(0.0, 0.1))
        self.heading %= tau
        core.steer_towards(self.heading, 1.0, BUTTON_RUN if self.runs else 0)
