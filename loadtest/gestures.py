"""What a person in a headset does with head and hands: never still, so that each sample differs from the last.

Invariant: a pure function of time and of one number that makes people differ. Not responsible for: when it is told.
"""

from math import cos, sin

from protocol.poses import Part, Sample


def gesture(seconds: float, phase: float) -> Sample:
    """Head and hands in metres from the feet, of somebody who talks with both hands."""
    t = seconds + phase
    nod, turn = 0.1 * sin(0.9 * t), 0.3 * sin(0.4 * t)
    head = Part(
        (0.03 * sin(0.7 * t), 1.68 + 0.01 * sin(1.3 * t), 0.0), (sin(nod / 2), sin(turn / 2), 0.0, cos(nod / 2))
    )
    left = Part((-0.3 + 0.08 * sin(2.1 * t), 1.2 + 0.15 * sin(1.7 * t), -0.35 + 0.05 * cos(2.3 * t)))
    right = Part((0.3 + 0.1 * cos(1.9 * t), 1.15 + 0.2 * sin(2.4 * t + 1.0), -0.35 + 0.05 * sin(2.9 * t)))
    return Sample(head, left, right, ((0.0, 0.0), (0.0, max(0.0, sin(0.5 * t)))))
