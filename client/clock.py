"""What a client knows of the server's time: the round trip, and the tick that the server is at now.

Both are estimated by the sample with the least delay in a window of 5 to 10 s (the minimum filter of NTP's clock
filter, RFC 5905 §10): queues only ever add delay. Invariant: told all times in milliseconds of one clock; asks for
none. Not responsible for: what is done at a tick.
"""

WINDOW_MS = 5000.0


class _Least:
    """The least value of the present window and of the one before."""

    __slots__ = ("_began_ms", "_now", "_previous")

    def __init__(self) -> None:
        self._began_ms = 0.0
        self._now: float | None = None
        self._previous: float | None = None

    def add(self, value: float, now_ms: float) -> None:
        if self._now is None or now_ms - self._began_ms >= WINDOW_MS:
            self._previous, self._now, self._began_ms = self._now, value, now_ms
        elif value < self._now:
            self._now = value

    @property
    def value(self) -> float | None:
        if self._now is None or self._previous is None:
            return self._now
        return min(self._now, self._previous)


class ServerClock:
    """Estimates for one connection.

    ``rtt_ms``: the latest sample; ``rtt_min_ms``: the least of the window; both None before the first sample.
    """

    __slots__ = ("_behind_ms", "_rtt", "_tick_ms", "rtt_ms")

    def __init__(self, rate_hz: int) -> None:
        self._tick_ms = 1000.0 / rate_hz
        self._rtt = _Least()
        # How far our clock is ahead of the tick's own time when a message of that tick arrives: constant + delay.
        self._behind_ms = _Least()
        self.rtt_ms: float | None = None

    @property
    def rtt_min_ms(self) -> float | None:
        return self._rtt.value

    def heard(self, tick: int, now_ms: float) -> None:
        """A message of ``tick`` arrived."""
        self._behind_ms.add(now_ms - tick * self._tick_ms, now_ms)

    def echoed(self, stamp_ms: int, hold_ms: int, now_ms: float) -> None:
        """The server echoed our stamp (u32 milliseconds) after keeping it for ``hold_ms``. Nonsense samples are
        ignored."""
        sample = float((int(now_ms) - stamp_ms - hold_ms) & 0xFFFFFFFF)
        if sample < 60_000.0:
            self.rtt_ms = sample
            self._rtt.add(sample, now_ms)

    def shown_tick(self, now_ms: float) -> float:
        """The tick whose news, with the least delay, arrives now: never ahead of what the server knows."""
        behind = self._behind_ms.value
        return 0.0 if behind is None else (now_ms - behind) / self._tick_ms

    def server_tick(self, now_ms: float) -> float:
        """The tick that the server is at now, half a round trip ahead of :meth:`shown_tick`."""
        return self.shown_tick(now_ms) + (self._rtt.value or 0.0) / (2.0 * self._tick_ms)
