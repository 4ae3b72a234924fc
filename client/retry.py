"""When to connect again: exponential backoff with jitter, below a bound, from what the close code advises.

Jitter spreads the clients of a gateway that went away (Brooker, "Exponential Backoff and Jitter", AWS 2015: equal
jitter). Invariant: randomness is injected, so that a run replays. Not responsible for: connecting.
"""

from collections.abc import Callable

from protocol.codes import Advice

FIRST_MS = 100.0
LATER_MS = 1000.0
MOST_MS = 10_000.0


class Retry:
    """Counts failed attempts in a row. ``jitter`` returns numbers in [0, 1)."""

    __slots__ = ("_failures", "_jitter")

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._failures = 0

    def succeeded(self) -> None:
        """Admitted: the next loss begins anew."""
        self._failures = 0

    def delay_ms(self, advice: Advice, retry_after_ms: int | None) -> int:
        """How long to wait before the next attempt; counts one failure. Raises ValueError if the advice is not to
        retry."""
        if advice in (Advice.NEW_TOKEN, Advice.DO_NOT_COME_BACK):
            raise ValueError(f"{advice.name} means that the same HELLO is not to be repeated")
        base = FIRST_MS if advice is Advice.RECONNECT_NOW else LATER_MS
        bound = min(MOST_MS, base * 2.0 ** min(self._failures, 16))
        self._failures += 1
        # At least what the server asked for, never earlier: it told everybody the same number.
        return int((retry_after_ms or 0) + bound * (0.5 + 0.5 * self._jitter()))
