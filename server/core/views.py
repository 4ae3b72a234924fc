"""Views: who looks from where, and the numbers of each stream. One view for each connection, with the connection's
index.

Decides: what a fresh view looks like. Invariants: a closed view writes nothing; a body belongs to one view.
Everything that is done
for all views each tick is in ``kernels.pace``, ``kernels.interest`` and ``kernels.encode``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kernels.encode import MESSAGE_ROOM_BYTES, encode_views
from kernels.interest import scratch
from kernels.layout import FRAME_RING, HELD, SLOT, VIEW, Sent, ViewState
from kernels.pace import RTT_FIRST_MS, WINDOW_FIRST_BYTES, WINDOW_MOST_BYTES, choose, take_acks
from kernels.sparse import clear, sparse_zeros
from kernels.values import MESSAGES_MAX, encode_values, take_value_acks
from protocol.layouts import GRID_PER_M
from protocol.limits import FRAME_BYTES_MAX
from server.core.mirror import Mirror

OUT_BYTES = 4 << 20
CROWD_MS = 1000
"""A crowd beyond a view's cap is counted so often."""
ACK_MS = 100
"""A client of datagrams that has something to acknowledge does so after this time at the latest."""
Conns = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class ViewRules:
    """What all views of a world have in common, and the most that any of them may have; metres unless named
    otherwise."""

    radius_m: float = 100.0
    near_radius_m: float = 30.0
    hysteresis: float = 1.1
    """A leave or a step to the far level happens this much farther out than the enter or the step to near."""
    outer_radius_m: float = 1000.0
    """Beyond this, the outermost level is exact enough; beyond ``radius_m``: there is none."""
    outer_tolerance_m: float = 0.4
    """By how much that level may be off the far one."""
    cap: int = 250
    """Entities told of at once; beyond that the nearest."""
    patience_ms: int = 250
    """Unacknowledged time beyond the round trip after which a client gets no frames until it catches up (DESIGN §5)."""
    keepalive_ms: int = 1000


@dataclass(frozen=True, slots=True)
class Portion:
    """Of one view: ``cap`` entities at most, a frame every ``every_ticks``, of ``bytes_per_s`` (0: no limit)."""

    radius_m: float
    near_radius_m: float
    outer_radius_m: float
    cap: int
    every_ticks: int = 1
    bytes_per_s: int = 0

    @classmethod
    def of(cls, rules: ViewRules) -> "Portion":
        """All that the rules allow."""
        return cls(rules.radius_m, rules.near_radius_m, rules.outer_radius_m, rules.cap)


@dataclass(slots=True)
class Batch:
    """Frames of some views: ``buffer[at[k] : at[k] + length[k]]`` goes to connection ``conn[k]``. Valid until the
    next batch."""

    buffer: npt.NDArray[np.uint8]
    conn: npt.NDArray[np.int32]
    at: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    kind: npt.NDArray[np.uint8] | None = None
    """Of datagram connections, whose messages have no WebSocket header: values.RELIABLE or UNRELIABLE each. None: these
    are WebSocket frames, and of a channel, whose bytes are the same for all, some may be for the streams of datagram
    connections."""


@dataclass(slots=True)
class Totals:
    """Counts of one tick, for metrics."""

    views: int = 0
    held: int = 0
    leaves: int = 0
    enters: int = 0
    states: int = 0
    deltas: int = 0
    fulls: int = 0
    frame_bytes: int = 0
    frames: int = 0
    looked: int = 0


class Views:
    """All views of a gateway, at most ``capacity``; those of connections ``datagrams_from`` and above are told by
    datagrams."""

    def __init__(self, capacity: int, rules: ViewRules, tick_ms: float, datagrams_from: int | None = None) -> None:
        self.rules = rules
        self.capacity = capacity
        # Numbers wait for their leave to be acknowledged: enough for all that live to be replaced meanwhile.
        numbers = 2 * rules.cap + 16
        self.state = ViewState(
            np.zeros(capacity, VIEW),
            sparse_zeros((capacity, numbers), SLOT),
            sparse_zeros((capacity, FRAME_RING), np.int64),
            sparse_zeros((capacity, FRAME_RING), np.int64),
        )
        first = capacity if datagrams_from is None else datagrams_from
        self.sent = Sent(first, *(sparse_zeros((capacity - first, numbers), HELD) for _ in range(3)))
        self.high = 0
        self.totals = Totals()
        self.patience_ms = round(rules.patience_ms + 2 * tick_ms)
        self._tick_ms = tick_ms
        self.slack_ms = round(ACK_MS + tick_ms)
        self._forged = np.zeros(1024, np.int32)
        self._scratch = scratch(0, numbers)
        self._numbers = numbers
        self._out = np.zeros(OUT_BYTES, np.uint8)
        self._chosen = np.zeros(capacity, np.int32)
        self._budgets = np.zeros(capacity, np.int32)
        self._out_view = np.zeros(capacity, np.int32)
        self._out_at = np.zeros(capacity, np.int64)
        self._out_bytes = np.zeros(capacity, np.int64)
        messages = max(MESSAGES_MAX, 4 * (capacity - first))
        self._told = Batch(
            self._out,
            np.zeros(messages, np.int32),
            np.zeros(messages, np.int64),
            np.zeros(messages, np.int64),
            np.zeros(messages, np.uint8),
        )
        self._counts = np.zeros(9, np.int64)

    def open(
        self,
        conn: int,
        stream: int,
        centre: tuple[int, int, int],
        now_ms: int,
        window_bytes: int = WINDOW_FIRST_BYTES,
        portion: Portion | None = None,
    ) -> None:
        """A fresh view for ``conn`` at ``centre`` (grid units), without a body yet. ``window_bytes``: what the way to
        the client is known to hold. ``portion`` None: all that the rules allow."""
        clear(self.state.slot[conn])
        self.state.views[conn] = np.zeros(1, VIEW)[0]
        view = self.state.views[conn]
        view["active"] = 1
        view["values"] = conn >= self.sent.first
        view["stream"] = stream
        view["body"] = -1
        view["x"], view["y"], view["z"] = centre
        view["crowd_every"] = max(1, round(CROWD_MS / self._tick_ms))
        view["rtt_ms"] = RTT_FIRST_MS
        view["window_bytes"] = min(max(window_bytes, WINDOW_FIRST_BYTES), WINDOW_MOST_BYTES)
        view["heard_ms"] = now_ms
        view["sent_ms"] = now_ms
        self.apportion(np.array([conn], np.int32), Portion.of(self.rules) if portion is None else portion, now_ms)
        self.high = max(self.high, conn + 1)

    def apportion(self, conns: Conns, portion: Portion, now_ms: int) -> None:
        """From now on these views (int32[n]) are told by ``portion``: who is beyond it leaves with their next
        frames."""
        views, hysteresis = self.state.views, self.rules.hysteresis
        for name, radius_m in (
            ("radius", portion.radius_m),
            ("near_radius", portion.near_radius_m),
            ("outer_radius", portion.outer_radius_m),
        ):
            views[name][conns] = round(radius_m * GRID_PER_M)
            leave = name.replace("radius", "leave_radius")
            views[leave][conns] = round(radius_m * hysteresis * GRID_PER_M)
        views["cap"][conns] = portion.cap
        views["every"][conns] = portion.every_ticks
        views["bytes_per_s"][conns] = views["allowance"][conns] = portion.bytes_per_s
        views["refilled_ms"][conns] = now_ms

    def blank(self, conn: int, centre: tuple[int, int, int]) -> None:
        """A connection without a view: its record counts structure messages, and nothing is ever encoded for it."""
        view = np.zeros(1, VIEW)[0]
        view["body"] = -1
        view["x"], view["y"], view["z"] = centre
        self.state.views[conn] = view

    def set_body(self, conn: int, row: int, mirror: Mirror) -> None:
        """From now on the view follows mirror row ``row``."""
        view = self.state.views[conn]
        view["body"] = row
        view["body_serial"] = mirror.hot["serial"][row]
        mirror.view_of[row] = conn

    def release_body(self, conn: int, mirror: Mirror) -> None:
        """The view goes on following its body, without being told what that body's commands came to."""
        body = int(self.state.views[conn]["body"])
        if body >= 0 and mirror.view_of[body] == conn:
            mirror.view_of[body] = -1

    def close(self, conn: int, mirror: Mirror) -> None:
        """The view ends."""
        self.release_body(conn, mirror)
        self.state.views[conn]["active"] = 0
        while self.high and not self.state.views[self.high - 1]["active"]:
            self.high -= 1

    def _values(self, first: int, chosen: int, tick: int, now_ms: int, mirror: Mirror) -> Iterator[Batch]:
        """Messages of chosen views ``first`` and above, which are told by datagrams."""
        told = self._told
        assert told.kind is not None
        while first < chosen:
            first = int(
                encode_values(
                    self._chosen[:chosen],
                    self._budgets[:chosen],
                    first,
                    tick,
                    now_ms,
                    self.rules.keepalive_ms,
                    self.slack_ms,
                    self.state,
                    self.sent,
                    mirror.hot,
                    mirror.cold,
                    mirror.outer,
                    mirror.grid,
                    mirror.blobs,
                    self._scratch,
                    told.buffer,
                    told.conn,
                    told.at,
                    told.length,
                    told.kind,
                    self._counts,
                )
            )
            count = int(self._counts[0])
            if count:
                yield Batch(told.buffer, told.conn[:count], told.at[:count], told.length[:count], told.kind[:count])

    def take_acks(self, conn: U32, frame: U32, stamp: U32, earlier: U64, now_ms: int) -> Conns:
        """Acknowledged frames, in arrival order; ``earlier`` uint64[n]: bit i for frame - 1 - i, of datagram
        connections. Returns the connections that named a frame that was never sent."""
        if len(self._forged) < len(conn):
            self._forged = np.zeros(2 * len(conn), np.int32)
        bad = take_acks(conn, frame, stamp, now_ms, self.state, self._forged)
        if len(self.sent.base):
            take_value_acks(conn, frame, earlier, now_ms, self.state, self.sent)
        return self._forged[:bad]

    def forget(self, conns: npt.NDArray[np.int32]) -> None:
        """These views hold nothing any more: everything enters again (after SCHEMA)."""
        self.state.slot[conns] = np.zeros(1, SLOT)
        self.state.views["high"][conns] = 0

    def waits_ms(self, now_ms: int) -> npt.NDArray[np.int64]:
        """int64[views that are open]: for how long each one's oldest unacknowledged frame has been on its way; 0 if
        there is none."""
        open_views = np.flatnonzero(self.state.views["active"][: self.high])
        acked = self.state.views["acked"][open_views]
        oldest = (acked + np.uint32(1)) & np.uint32(FRAME_RING - 1)
        since_ms = now_ms - self.state.sent_ms[open_views, oldest]
        waits: npt.NDArray[np.int64] = np.where(self.state.views["frame"][open_views] != acked, since_ms, 0)
        return waits

    def frames(
        self,
        tick: int,
        now_ms: int,
        mirror: Mirror,
        blocked: npt.NDArray[np.uint8],
        frame_bytes_max: int = FRAME_BYTES_MAX,
        between: Iterable[Batch] = (),
    ) -> Iterator[Batch]:
        """All frames of ``tick``, in as few batches as fit the buffer, those by datagrams first and ``between`` behind
        them; ``totals`` is complete when the iterator ends."""
        if len(self._scratch.mark) < mirror.rows:
            self._scratch = scratch(mirror.rows, self._numbers)
        counts = self._counts
        chosen = choose(
            self.high,
            tick,
            now_ms,
            self.patience_ms,
            frame_bytes_max,
            blocked,
            self.state,
            self._chosen,
            self._budgets,
            counts,
        )
        totals = Totals(views=int(counts[0]), held=int(counts[1]))
        counts[:] = 0
        by_datagrams = self._chosen[:chosen] >= self.sent.first  # views are chosen in ascending order
        others = chosen - int(by_datagrams.sum())
        yield from self._values(others, chosen, tick, now_ms, mirror)
        yield from between
        chosen = others
        first = 0
        while first < chosen:
            first = int(
                encode_views(
                    self._chosen[:chosen],
                    self._budgets[:chosen],
                    first,
                    tick,
                    now_ms,
                    self.rules.keepalive_ms,
                    self.state,
                    mirror.hot,
                    mirror.cold,
                    mirror.outer,
                    mirror.grid,
                    mirror.blobs,
                    self._scratch,
                    self._out,
                    self._out_view,
                    self._out_at,
                    self._out_bytes,
                    counts,
                )
            )
            written = int(counts[0])
            if written:
                yield Batch(self._out, self._out_view[:written], self._out_at[:written], self._out_bytes[:written])
        numbers = [int(n) for n in counts[1:9]]
        totals.leaves, totals.enters, totals.states, totals.deltas, totals.fulls = numbers[:5]
        totals.frame_bytes, totals.frames, totals.looked = numbers[5:]
        self.totals = totals


assert MESSAGE_ROOM_BYTES < OUT_BYTES
