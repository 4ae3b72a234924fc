"""Whether a figure grows over the life of a process: pure, told samples.

A *life* is one process from its start to its end; a process that is started again begins another one. The first
WARMUP_PART of a life does not count (pools fill, code is loaded), then the median of the first third of what is left is
compared with that of the last third. Medians, because every disturbance makes spikes; thirds of a life, because people
come and go at random and a shorter window would judge chance. What a figure may differ by is its *slack*: an absolute
part, a part of the first median, and NOISE times the spread (median absolute deviation) of the samples around their
third's median, so that a figure that swings by nature is not called growing for it.

Invariants: no verdict from fewer than SAMPLES_MIN samples or a shorter life than LIFE_S_MIN. Not responsible for:
taking samples (``watching``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

WARMUP_PART = 0.15
SAMPLES_MIN = 12
LIFE_S_MIN = 600.0
NOISE = 2.0
SHORT = "too short to judge"
STEADY = "steady"
GROWS = "GROWS"


@dataclass(frozen=True, slots=True)
class Bound:
    """What the last third's median may exceed the first one's by: ``slack`` + ``part`` of it, or the noise."""

    slack: float
    part: float
    why: str


@dataclass(frozen=True, slots=True)
class Growth:
    """One figure of one life. ``per_hour``: the difference of the thirds' medians over the time between them."""

    who: str
    figure: str
    life_s: float
    samples: int
    first: float
    last: float
    most: float
    per_hour: float
    allowed: float
    verdict: str


def judge(who: str, figure: str, samples: Sequence[tuple[float, float]], bound: Bound) -> Growth:
    """``samples``: (seconds, value) of one life, ascending; at least one."""
    life_s = samples[-1][0] - samples[0][0]
    begin_s = samples[0][0] + WARMUP_PART * life_s
    kept = [sample for sample in samples if sample[0] >= begin_s]
    third_s = (samples[-1][0] - begin_s) / 3.0
    early = [value for at_s, value in kept if at_s <= begin_s + third_s]
    late = [value for at_s, value in kept if at_s >= begin_s + 2.0 * third_s]
    first, last = median(early or [samples[0][1]]), median(late or [samples[-1][1]])
    spread = median([abs(value - first) for value in early] + [abs(value - last) for value in late] or [0.0])
    allowed = max(bound.slack + bound.part * first, NOISE * spread)
    per_hour = (last - first) * 3600.0 / (2.0 * third_s) if third_s else 0.0
    if life_s < LIFE_S_MIN or len(kept) < SAMPLES_MIN:
        verdict = SHORT
    else:
        verdict = GROWS if last - first > allowed else STEADY
    most = max(value for _, value in samples)
    return Growth(who, figure, life_s, len(samples), first, last, most, per_hour, allowed, verdict)
