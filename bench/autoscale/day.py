"""How many people there are over a day and a night: a curve with noise, and a match in a stadium.

Decides the shape: fewest at four in the morning, most at eight in the evening, noise that lasts minutes, and within
some minutes a crowd in one place, which goes home as quickly. Invariants: seeded, so that a day replays; never
negative. Not responsible for: what people cost (``plant``).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
DAY_S = 86_400.0
LEAST_AT_H, RISES_H = 4.0, 16.0
NOISE_LASTS_S = 120.0


@dataclass(frozen=True, slots=True)
class Day:
    """``least`` at night, ``most`` in the evening; ``noise``: standard deviation, as part of the curve. ``match``: so
    many people come from ``match_from_s`` on, within ``comes_s``, stay until ``match_to_s`` and go within
    ``goes_s``."""

    least: float = 1_500.0
    most: float = 12_000.0
    noise: float = 0.06
    match: float = 5_000.0
    match_from_s: float = 20.5 * 3600
    match_to_s: float = 22.5 * 3600
    comes_s: float = 300.0
    goes_s: float = 600.0

    def people(self, at_s: F64, rng: np.random.Generator) -> tuple[F64, F64]:
        """(people everywhere, people in the stadium) at times in seconds since midnight, equally far apart."""
        since_h = (at_s / 3600.0 - LEAST_AT_H) % 24.0
        rising = 0.5 - 0.5 * np.cos(np.pi * since_h / RISES_H)
        falling = 0.5 + 0.5 * np.cos(np.pi * (since_h - RISES_H) / (24.0 - RISES_H))
        base = self.least + (self.most - self.least) * np.where(since_h < RISES_H, rising, falling)
        base *= np.maximum(0.0, 1.0 + self.noise * _lasting(len(at_s), at_s, rng))
        rises = np.clip((at_s - self.match_from_s) / self.comes_s, 0.0, 1.0)
        falls = np.clip((at_s - self.match_to_s) / self.goes_s, 0.0, 1.0)
        match = self.match * (rises - falls) * np.maximum(0.0, 1.0 + 0.02 * _lasting(len(at_s), at_s, rng))
        return base, match


def _lasting(count: int, at_s: F64, rng: np.random.Generator) -> F64:
    """Noise of variance 1 that keeps its value for about NOISE_LASTS_S (an Ornstein-Uhlenbeck process)."""
    keeps = float(np.exp(-(at_s[1] - at_s[0]) / NOISE_LASTS_S)) if count > 1 else 0.0
    drawn = rng.standard_normal(count) * np.sqrt(1.0 - keeps**2)
    value, out = float(rng.standard_normal()), np.empty(count)
    for k, more in enumerate(drawn.tolist()):
        value = keeps * value + more
        out[k] = value
    return out
