"""When a client asks for datagrams: at once on a new gateway, and ever more rarely where they do not work.

A network that drops UDP does so for everybody behind it and for long: asking costs the session a change of its
connection and back each time, so the pause doubles. Invariant: randomness is injected, so that a run replays. Not
responsible for: asking, and going back (``client.core``).
"""

from collections.abc import Callable

FIRST_MS = 10_000.0
MOST_MS = 300_000.0
STEADY_MS = 60_000.0
"""Datagrams that worked for so long are tried as if they had never failed."""


class Upgrading:
    """For one client. ``jitter`` returns numbers in [0, 1)."""

    __slots__ = ("_asked", "_began_ms", "_jitter", "_tries", "_wanted", "at_ms", "problem")

    def __init__(self, wanted: bool, jitter: Callable[[], float]) -> None:
        self._wanted = wanted
        self._jitter = jitter
        self._tries = 0
        """Since they last worked for long, or on this gateway."""
        self._asked = False
        self._began_ms: float | None = None
        """When this client went on over datagrams; None while it is not."""
        self.at_ms = float("inf")
        """When to ask, on WebSocket."""
        self.problem: str | None = None
        """Why it is not on datagrams, as far as known."""

    def on_websocket(self, now_ms: float, new_gateway: bool) -> None:
        """Welcomed over WebSocket. A gateway that was not asked yet is asked at once."""
        if self._wanted and (new_gateway or self._began_ms is not None):
            self._tries = 0
            self.at_ms = now_ms
        self._began_ms = None
        self._asked = False

    def asked(self, now_ms: float) -> None:
        """DATAGRAMS was said. Without anything that comes of it, it is said again later."""
        self._asked = True
        self._tries += 1
        self._later(now_ms)

    def answered(self) -> bool:
        """A TOKEN came; returns whether it was asked for, which each is once."""
        asked, self._asked = self._asked, False
        return asked

    def on_datagrams(self, now_ms: float) -> None:
        """Welcomed over datagrams."""
        self._began_ms = now_ms
        self.at_ms = float("inf")
        self.problem = None

    def failed(self, why: str, now_ms: float) -> None:
        """They did not work, or work no longer."""
        self.problem = why
        if self._began_ms is not None:
            if now_ms - self._began_ms >= STEADY_MS:
                self._tries = 1
            self._began_ms = None
            self._later(now_ms)

    def _later(self, now_ms: float) -> None:
        bound = min(MOST_MS, FIRST_MS * 2.0 ** min(self._tries - 1, 16))
        self.at_ms = now_ms + bound * (0.5 + 0.5 * self._jitter())
