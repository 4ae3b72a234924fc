"""Who wears a headset in the simulator, and what they do with their hands."""

from math import sin

from protocol.poses import Part


def has_hands(seed: int, number: int) -> bool:
    """Whether a person wears a headset: every fifth one in every fourth seed, for they are many messages."""
    return seed % 4 == 0 and number % 5 == 0


def hand_of(number: int, now_ms: float) -> Part:
    """Where the right hand of one who does is: how far ahead says who it is, how high goes up and down."""
    return Part((0.25, 1.2 + 0.2 * sin(now_ms / 400.0), -0.02 * (number % 20)))
