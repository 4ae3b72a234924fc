"""What one client goes through, measured at the edge of its core: told times, asks for none.

Theory of operation. A command counts as sent when the core has numbered it, and as answered by the frame whose own
state has applied it. Frames are *due* while a body walks (each tick applies a command, so each frame tells of it) or a
channel is watched; in a quiet moment a server sends nothing for up to a second (STANDARD.md §4), which is no fault and
counts for nothing. While frames are due: the time between two is a *gap*, what of it is beyond FREEZE_FRAMES frames'
time is *frozen*, and the newest tick's age beyond the least that any client of this process saw is *stale*. A
connection that is lost while frames are due leaves them due, so the time without it is frozen, too.

Invariant: time is counted once, whether a frame comes or not. Not responsible for: sockets, bytes, requests
(``users``).
"""

from collections import deque

from client.clock import ServerClock
from client.core import ClientCore
from loadtest.instability import Instability
from loadtest.tally import Cell

FREEZE_FRAMES = 3
"""150 ms at 20 frames a second, as in bench.lossy: a gap that prediction no longer hides."""
STILL_MS = 250.0
"""A client that has made no command for so long stands; commands come every 50 ms while it walks."""
U32 = 0xFFFFFFFF


class Noticing:
    """One client."""

    def __init__(self) -> None:
        self._news: ServerClock | None = None
        self._sent: deque[tuple[int, float]] = deque()
        self._newest_seq = 0
        self._commanded_ms = -STILL_MS
        self._due_since_ms: float | None = None
        """The last frame while frames are due, or when they began to be; None: none are due."""
        self._frozen_to_ms = 0.0
        self._looked_ms: float | None = None
        self._frames = 0
        self._tick = 0
        self._instability: Instability | None = None
        self._period_ms = 50.0
        self._tick_ms = 50.0

    def welcomed(self, news: ServerClock, tick_ms: float, period_ms: float, resumed: bool) -> None:
        """A stream begins: ticks last ``tick_ms``, and there is a frame each ``period_ms``. ``news``: the clock of the
        earliest news, shared by all clients that see the like. ``resumed``: commands go on where they were."""
        self._news = news
        self._tick_ms, self._period_ms = tick_ms, period_ms
        if self._instability is None:
            self._instability = Instability(period_ms)
        self._tick = 0
        if not resumed:
            self._sent.clear()
            self._newest_seq = 0

    def acted(self, core: ClientCore, now_ms: float) -> None:
        """The core may have made a command."""
        seq = core.newest_seq
        if seq == self._newest_seq:
            return
        self._newest_seq = seq
        self._sent.append((seq, now_ms))
        if now_ms - self._commanded_ms >= STILL_MS:
            self._due_since_ms = self._frozen_to_ms = now_ms
            if self._instability is not None:
                self._instability.interrupted()
        self._commanded_ms = now_ms

    def _due(self, core: ClientCore, now_ms: float) -> bool:
        if not core.connected:
            return self._due_since_ms is not None  # whoever was walking or watching would like to go on
        if core.television is not None:
            return core.television.channel is not None and core.television.applied > 0
        return bool(self._sent) or now_ms - self._commanded_ms < STILL_MS

    def heard(self, core: ClientCore, cell: Cell, now_ms: float) -> float | None:
        """Something arrived. Returns the delay of the newest input that was answered by it, if any was."""
        frames, self._frames = core.stats.frames - self._frames, core.stats.frames
        if frames <= 0:
            return None
        cell.count("frames", frames)
        tick = core.entities.tick
        if tick > self._tick:
            self._tick = tick
            if self._news is not None:
                self._news.heard(tick, now_ms)
        if self._due(core, now_ms):
            self._gap(cell, now_ms)
        answered, delay_ms = core.acknowledged_seq, None
        while self._sent and (answered - self._sent[0][0]) & U32 < 0x80000000:
            delay_ms = now_ms - self._sent.popleft()[1]
            cell.sample("input_delay_ms", delay_ms)
        return delay_ms

    def _gap(self, cell: Cell, now_ms: float) -> None:
        since_ms = self._due_since_ms
        if since_ms is not None:
            gap_ms = now_ms - since_ms
            cell.sample("frame_gap_ms", gap_ms)
            if self._instability is not None:
                jump_ms, span_ms = self._instability.add(gap_ms)
                cell.count("jump_ms", jump_ms)
                cell.count("span_ms", span_ms)
            self._freeze(cell, now_ms)
        self._due_since_ms = self._frozen_to_ms = now_ms

    def _freeze(self, cell: Cell, now_ms: float) -> None:
        assert self._due_since_ms is not None
        from_ms = max(self._frozen_to_ms, self._due_since_ms + FREEZE_FRAMES * self._period_ms)
        if now_ms > from_ms:
            cell.count("frozen_ms", now_ms - from_ms)
            self._frozen_to_ms = now_ms

    def look(self, core: ClientCore, cell: Cell, now_ms: float) -> None:
        """Some time passed; call it at fixed intervals, since staleness is sampled by it."""
        if self._looked_ms is not None and core.welcome is not None:
            cell.count("client_ms", now_ms - self._looked_ms)
            if core.on_datagrams:
                cell.count("datagram_ms", now_ms - self._looked_ms)
        if self._looked_ms is not None and not core.connected:
            cell.count("outside_ms", now_ms - self._looked_ms)
        self._looked_ms = now_ms
        if not self._due(core, now_ms):
            self._due_since_ms = None
            return
        if self._due_since_ms is None:
            return
        self._freeze(cell, now_ms)
        if core.connected and self._tick and self._news is not None:
            behind = self._news.shown_tick(now_ms) - self._tick
            cell.sample("stale_ms", max(0.0, behind) * self._tick_ms)
