"""The table of connections: who is connected, what waits for them, and how each of them ends.

Decides when a connection is closed and when its slot may be used again. Invariants: a connection ends for its user in
exactly one way, by the user's own ``close`` or by one ``Lost``; a slot is free only after the socket is closed and
aiohttp has forgotten it; in the steady state no Python runs for each connection (TLS connections excepted: they take a
path with copies). Not responsible for: the upgrade (``accept``), parsing (``kernels.wsparse``), meaning
(``server.session``).
"""

import asyncio
import select
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.hotmessages import N_CALLS, N_COLD, N_END, N_FRAMES, N_PONG, N_READY, N_RX_BYTES
from kernels.sparse import sparse_zeros
from kernels.wsparse import (
    CARRIER,
    CONTROL_BYTES_MAX,
    HEADER_BYTES_MAX,
    STATE_CLOSING,
    STATE_FREE,
    STATE_GONE,
    STATE_OPEN,
    End,
    parse,
)
from protocol.codes import Close, ProtocolViolation
from protocol.messages import SSEQ_OFFSET
from protocol.wsframe import frame
from server.transport import syscalls, tls
from server.transport.backlog import Backlog
from server.transport.config import CarrierConfig
from server.transport.inbound import NO_CONNS, Inbound, Lost, Opened, Outputs
from server.transport.link import Link
from server.transport.outbox import FRAGMENT_BYTES, as_array, closing_frames, enqueue, fragments

_CODES = {End.OVERSIZED: Close.TOO_LARGE, End.TOO_MANY_MESSAGES: Close.TOO_MANY_MESSAGES}
_SWEEP_S = 0.05
_NO_SSEQ = np.zeros(0, np.uint32)


class Sent(NamedTuple):
    """What one ``send`` did: bytes written, frames taken, sockets that were full, connections found broken, system
    calls."""

    bytes: int
    frames: int
    again: int
    lost: int
    calls: int


class Carriers:
    """Connections with slots ``conn`` 0 … capacity-1; use from one event loop only.

    ``columns``: CARRIER[N]. ``blocked``: uint8[N], 1 while something unsent waits: give that connection no new frame.
    ``rejected``: connections closed for what they sent, by reason. Totals since the start: ``received_bytes``,
    ``received_frames``, ``sent_bytes``, ``sent_frames``, ``send_calls``, ``receive_calls``, ``wakeups``.
    """

    def __init__(self, config: CarrierConfig | None = None) -> None:
        self.config = config or CarrierConfig()
        n = self.config.capacity
        self.columns = np.zeros(n, CARRIER)
        self.columns["fd"] = -1
        self.blocked = np.zeros(n, np.uint8)
        self.rejected: Counter[str] = Counter()
        self.received_bytes = self.received_frames = 0
        self.sent_bytes = self.sent_frames = self.send_calls = self.receive_calls = self.wakeups = 0
        self._rx = sparse_zeros((n, self.config.rx_bytes), np.uint8)
        self._tx = sparse_zeros((n, self.config.tx_bytes), np.uint8)
        self._scratch = np.zeros(65536, np.uint8)
        self._events = np.zeros(n, syscalls.EPOLL_EVENT)
        self._ready = np.zeros(2 * n, np.int32)
        self._lost_out = np.zeros(n, np.int32)
        self._overflow_out = np.zeros(n, np.int32)
        self._send_counts = np.zeros(syscalls.SEND_COUNTS, np.int64)
        self._nothing = syscalls.empty_entries()
        self._outputs = Outputs(n, self.config.message_bytes_max)
        self._inbound = Inbound()
        self._opened: list[Opened] = []
        self._lost: list[Lost] = []
        self._links: list[Link | None] = [None] * n
        self._free = list(range(n - 1, -1, -1))
        """The slot that was freed last is taken first: what slots have in columns, here and in views, is memory once it
        was used, so that it follows the most people at once and not the number that ever came."""
        self._released: list[int] = []
        self._closing: dict[int, float] = {}
        self._backlog = Backlog(self.config.post_bytes_max)
        self._held = np.zeros(n, np.bool_)
        """For whom something waits there."""
        self._tls: dict[int, Link] = {}
        self._early: list[int] = []
        self._turn = self._polled_ms = 0
        self._epoll = select.epoll()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deliver: Callable[[Inbound], None] | None = None
        self._unmute: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------------------------------------------ life

    @property
    def open_count(self) -> int:
        """Slots in use, closing ones included."""
        return len(self._links) - len(self._free) - len(self._released)

    @property
    def is_full(self) -> bool:
        """Whether ``adopt`` would find no slot; after ``stop`` always."""
        return not self._free or self._epoll.closed

    def start(self, on_inbound: Callable[[Inbound], None]) -> None:
        """Deliver what arrives to ``on_inbound`` from the running loop, ``mute_s`` after any poll at the earliest."""
        self._loop = asyncio.get_running_loop()
        self._deliver = on_inbound
        self._loop.add_reader(self._epoll.fileno(), self._on_readable)

    def close_all(self, code: int, retry_after_ms: int | None = None, text: str = "") -> None:
        """Close every connection, each with its code; they are gone after ``linger_s`` at the latest."""
        for conn in np.flatnonzero(self.columns["state"] == STATE_OPEN).tolist():
            self.close(conn, code, retry_after_ms, text)

    def stop(self) -> None:
        """Drop what is still connected and give the descriptors back. Idempotent."""
        for conn, link in enumerate(self._links):
            if link is not None:
                self._abandon(conn)
        for timer in (self._unmute, self._sweeper):
            if timer is not None:
                timer.cancel()
        self._unmute = self._sweeper = None
        if self._loop is not None and not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._deliver = None

    def adopt(self, link: Link) -> int | None:
        """Take over an upgraded connection; returns its slot, or None if all are taken. Raises OSError if it cannot be
        watched."""
        if self.is_full:
            return None
        conn = self._free.pop()
        row = self.columns[conn]
        generation = (int(row["generation"]) + 1) & 0xFFFFFFFF
        self.columns[conn] = np.zeros((), CARRIER)
        now_ms = _now_ms()
        row["fd"], row["generation"], row["tls"] = link.fd, generation, link.tls
        row["tokens"], row["refilled_ms"], row["heard_ms"] = self.config.message_burst, now_ms, now_ms
        row["state"] = STATE_OPEN
        self.blocked[conn] = 0
        self._links[conn] = link
        if link.tls:
            self._tls[conn] = link
        else:
            # What a hasty client sent in one packet with its request.
            early = link.take(self.config.rx_bytes)
            if early:
                self._rx[conn, : len(early)] = np.frombuffer(early, np.uint8)
                row["rx_fill"] = len(early)
                self._early.append(conn)

            error = syscalls.watch(self._epoll.fileno(), link.fd, conn, syscalls.EPOLL_CTL_ADD)
            if error:
                self.release(conn)
                raise OSError(error, "epoll_ctl refused the connection")
        link.attach(self, conn)
        self._opened.append(Opened(conn, generation, link.remote, link.tls or self.config.tls_at_proxy))
        self.wake()
        return conn

    def release(self, conn: int) -> None:
        """The socket is closed and aiohttp has let go: the slot may be used again."""
        link = self._links[conn]
        if link is None:
            return
        self._note_lost(conn, 1006, "eof")
        self._abandon(conn)
        link.detach()
        self._links[conn] = None
        self._tls.pop(conn, None)
        self._early = [early for early in self._early if early != conn]
        self.columns["state"][conn] = STATE_FREE
        self.columns["fd"][conn] = -1
        # A slot must not be opened again before its end has been told.
        waits = any(lost.conn == conn for lost in self._lost)
        (self._released if waits else self._free).append(conn)

    # ------------------------------------------------------------------------------------------------------ receiving

    def wake(self) -> None:
        """Poll soon: something happened that the epoll instance does not show (a new connection, bytes of a TLS
        connection)."""
        if self._loop is not None and self._unmute is None and self._deliver is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._unmute = self._loop.call_later(0, self._end_mute)

    def _on_readable(self) -> None:
        assert self._loop is not None
        self.wakeups += 1
        self._loop.remove_reader(self._epoll.fileno())
        # Timed from before the work, so that a slow consumer does not stretch the pause.
        self._unmute = self._loop.call_later(self.config.mute_s, self._end_mute)
        inbound = self.poll(_now_ms())
        if inbound and self._deliver is not None:
            self._deliver(inbound)

    def _end_mute(self) -> None:
        self._unmute = None
        if self._loop is None or self._deliver is None:
            return
        urgent = self._opened or self._lost or any(link.pending for link in self._tls.values())
        rest_s = self.config.mute_s - (_now_ms() - self._polled_ms) / 1000
        if rest_s > 0 and not urgent:
            self._unmute = self._loop.call_later(rest_s, self._end_mute)
            return
        self._loop.add_reader(self._epoll.fileno(), self._on_readable)
        if urgent:
            self._on_readable()

    def poll(self, now_ms: int) -> Inbound:
        """Read and parse everything that has arrived; never blocks. The result is valid until the next poll.

        ``now_ms``: a monotonic clock's, for the message budgets and ``columns["heard_ms"]``.
        """
        config, out, inbound = self.config, self._outputs, self._inbound
        self._polled_ms = now_ms
        counts = out.counts
        counts[:] = 0
        inbound.cold = []
        inbound.pose_conn = NO_CONNS
        rate = config.messages_per_s / 1000.0
        limits = (now_ms, rate, float(config.message_burst), config.message_bytes_max, config.post_bytes_max)
        for conn in self._early:
            self._mark_ready(conn)
        self._early.clear()
        for conn, link in self._tls.items():
            if link.pending:
                counts[N_RX_BYTES] += tls.take(link, self.columns[conn], self._rx[conn])
                if self.columns["state"][conn] == STATE_OPEN:
                    self._mark_ready(conn)
        done = syscalls.receive_and_parse(
            self._epoll.fileno(),
            self._events,
            self.columns,
            self._rx,
            self._tx,
            self._scratch,
            *limits,
            self._ready,
            out.inputs,
            out.input_earlier,
            out.command_counts,
            out.commands,
            out.acks,
            out.ack_earlier,
            out.cold,
            out.cold_bytes,
            out.ends,
            counts,
        )
        while done < counts[N_READY]:
            out.grow()
            done = parse(
                self._ready,
                done,
                self.columns,
                self._rx,
                self._tx,
                *limits,
                out.inputs,
                out.input_earlier,
                out.command_counts,
                out.commands,
                out.acks,
                out.ack_earlier,
                out.cold,
                out.cold_bytes,
                out.ends,
                counts,
            )
        self.received_bytes += int(counts[N_RX_BYTES])
        self.received_frames += int(counts[N_FRAMES])
        self.receive_calls += int(counts[N_CALLS])
        # Ends first: a message that is refused below must not find its connection already half closed.
        if counts[N_END]:
            self._take_ends()
        if counts[N_COLD]:
            out.take_cold(inbound, self.columns["odd"], 0, self.refuse)
        if counts[N_PONG]:
            self.flush()
        out.columns(inbound)
        inbound.opened, self._opened = self._opened, []
        inbound.lost, self._lost = self._lost, []
        self._free.extend(self._released)
        self._released.clear()
        return inbound

    def _take_ends(self) -> None:
        out = self._outputs
        for conn, why, peer_code in out.ends[:, : out.counts[N_END]].T.tolist():
            end = End(why)
            if conn in self._closing:
                self._abandon(conn)
            elif end in (End.EOF, End.RESET):
                self._note_lost(conn, 1006, end.name.lower())
                self._abandon(conn)
            elif end is End.PEER_CLOSED:
                self._note_lost(conn, peer_code, "peer_closed")
                # The answer echoes the code (RFC 6455 §5.5.1); reserved codes must not be sent (§7.4.1).
                echo = b"" if peer_code in (1005, 1006, 1015) or peer_code < 1000 else peer_code.to_bytes(2, "big")
                self._finish(conn, b"", frame(echo, 8))
            else:
                reason = end.name.lower()
                self._violated(conn, reason, _CODES.get(end, Close.PROTOCOL), f"not allowed here: {reason}")

    # ------------------------------------------------------------------------------------------------------ sending

    def send(
        self,
        buffer: npt.NDArray[np.uint8],
        conn: npt.NDArray[np.int32],
        offset: npt.NDArray[np.int64],
        length: npt.NDArray[np.int64],
    ) -> Sent:
        """Write ``buffer[offset[i] : offset[i] + length[i]]`` (whole frames, headers included) to ``conn[i]``, and all
        that waits.

        One compiled call; never blocks. What a socket does not take is copied, so ``buffer`` may be reused at once.
        Connections that broke, or could not hold their frame, are reported as ``Lost`` by the next poll.
        """
        self._turn = (self._turn + 1) & 0xFFFFFFFF
        for waiting in self._backlog.conns:
            self._held[waiting] = not self._backlog.pour(waiting, partial(self._put, waiting))
        counts = self._send_counts
        counts[:] = 0
        syscalls.send(
            buffer,
            conn,
            offset,
            length,
            self._turn,
            self.columns,
            self._tx,
            self.blocked,
            self._lost_out,
            self._overflow_out,
            counts,
        )
        for secured, link in self._tls.items():
            tls.send(secured, link, self.columns, self._tx, self.blocked, counts)
        if self._backlog:
            self.blocked[self._backlog.conns] = 1  # no frame may overtake what waits
        for broken in self._lost_out[: counts[syscalls.S_LOST]].tolist():
            self._broke(broken, 1006, "reset")
        for slow in self._overflow_out[: counts[syscalls.S_OVERFLOW]].tolist():
            self.rejected["too_slow"] += 1
            self._broke(slow, Close.TOO_SLOW, "too_slow")
        lost = int(counts[syscalls.S_LOST] + counts[syscalls.S_OVERFLOW])
        sent = Sent(
            int(counts[syscalls.S_BYTES]),
            int(counts[syscalls.S_FRAMES]),
            int(counts[syscalls.S_AGAIN]),
            lost,
            int(counts[syscalls.S_CALLS]),
        )
        self.sent_bytes += sent.bytes
        self.sent_frames += sent.frames
        self.send_calls += sent.calls
        return sent

    def flush(self) -> Sent:
        """Send what waits: tails, posted messages, pongs."""
        return self.send(*self._nothing)

    def post(self, conns: npt.NDArray[np.int32], message: bytes, sseq: npt.NDArray[np.uint32] | None = None) -> None:
        """Queue one message for many connections; it leaves with the next ``send`` or ``flush``, before its frames.

        ``sseq`` (uint32[n]): the number that each stream gives to this structure message, patched in place. A message
        of more than ``post_bytes_max`` waits for room, and so does what is posted behind it. A connection with more
        than that waiting besides is closed with 4002 and reported as ``Lost``.
        """
        framed = as_array(frame(message))
        at = len(framed) - len(message) + SSEQ_OFFSET
        numbers = _NO_SSEQ if sseq is None else sseq
        if sseq is not None and len(sseq) != len(conns):
            raise ValueError(f"post: {len(conns)} connections but {len(sseq)} structure numbers")
        if self._backlog or self._backlog.is_large(len(framed)):
            waits = self._held[conns] | self._backlog.is_large(len(framed))
            self._hold(conns[waits], message, numbers if sseq is None else numbers[waits])
            conns, numbers = conns[~waits], numbers if sseq is None else numbers[~waits]
        refused = enqueue(
            conns, framed, numbers, at, self.columns, self._tx, self.config.post_bytes_max, self._overflow_out
        )
        for conn in set(self._overflow_out[:refused].tolist()):
            self._violated(conn, "too_slow", Close.TOO_SLOW, "the connection is too slow for what must be sent")

    def _hold(self, conns: npt.NDArray[np.int32], message: bytes, sseq: npt.NDArray[np.uint32]) -> None:
        """A message goes to the end of what waits for room in transmit areas. A loop over connections: a large message
        is rare."""
        if not len(conns):
            return
        first, *others = [as_array(part) for part in fragments(message)]
        at = len(first) - min(len(message), FRAGMENT_BYTES) + SSEQ_OFFSET
        for k, conn in enumerate(conns.tolist()):
            if self.columns["state"][conn] != STATE_OPEN:
                continue
            numbered = first.copy() if len(sseq) else first
            if len(sseq):
                numbered[at : at + 4] = as_array(int(sseq[k]).to_bytes(4, "big"))
            if self._backlog.add(conn, [numbered, *others]):
                self._held[conn], self.blocked[conn] = True, 1
            else:
                self._violated(conn, "too_slow", Close.TOO_SLOW, "the connection is too slow for what must be sent")

    def _put(self, conn: int, fragment: npt.NDArray[np.uint8]) -> int:
        """One whole frame into a transmit area, if there is room for it and a pong; returns its size, or 0."""
        fill = int(self.columns["tx_fill"][conn])
        if fill + len(fragment) > self.config.post_bytes_max - HEADER_BYTES_MAX - CONTROL_BYTES_MAX:
            return 0
        self._tx[conn, fill : fill + len(fragment)] = fragment
        self.columns["tx_fill"][conn] = fill + len(fragment)
        return len(fragment)

    # ------------------------------------------------------------------------------------------------------ endings

    def close(self, conn: int, code: int, retry_after_ms: int | None = None, text: str = "") -> None:
        """End a connection: CLOSE message, close frame, then the socket after ``linger_s`` at the latest.

        For the caller it is over at once: nothing more of ``conn`` is delivered. Does nothing if it has ended already.
        """
        link = self._links[conn]
        if link is None or link.ended:
            # Its Lost may still be queued; the caller has just said that it knows.
            self._lost = [lost for lost in self._lost if lost.conn != conn]
            return
        link.ended = True
        self._finish(conn, *closing_frames(code, retry_after_ms, text))

    def refuse(self, conn: int, violation: ProtocolViolation) -> None:
        """Close a connection for what it sent, and count the reason; reported as ``Lost``."""
        self._violated(conn, violation.reason, violation.code, violation.text)

    def _violated(self, conn: int, reason: str, code: Close, text: str) -> None:
        link = self._links[conn]
        if link is None or link.ended:
            return
        self.rejected[reason] += 1
        self._note_lost(conn, code, reason)
        self._finish(conn, *closing_frames(code, None, text))

    def _broke(self, conn: int, code: int, reason: str) -> None:
        if conn not in self._closing:
            self._note_lost(conn, code, reason)
        self._abandon(conn)

    def _note_lost(self, conn: int, code: int, reason: str) -> None:
        link = self._links[conn]
        if link is None or link.ended:
            return
        link.ended = True
        self._lost.append(Lost(conn, int(code), reason))
        self.wake()

    def _finish(self, conn: int, word: bytes, end: bytes) -> None:
        """Queue the last message of a connection and its close frame, and let it linger until they are read."""
        row = self.columns[conn]
        # Between two frames of one message there can be no other one: the close frame has the code, too.
        last = end if self._backlog.is_within(conn) else word + end
        self._drop_backlog(conn)
        fill = int(row["tx_fill"])
        if fill + len(last) > self.config.tx_bytes:
            self._abandon(conn)
            return
        self._tx[conn, fill : fill + len(last)] = np.frombuffer(last, np.uint8)
        row["tx_fill"] = fill + len(last)
        row["state"] = STATE_CLOSING
        row["rx_fill"] = row["message_fill"] = 0
        self._closing[conn] = time.monotonic() + self.config.linger_s
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(0, self._sweep)

    def _drop_backlog(self, conn: int) -> None:
        self._backlog.drop(conn)
        self._held[conn] = False

    def _sweep(self) -> None:
        """Bring closing connections to their end: flush, half-close, and drop those that linger too long."""
        self._sweeper = None
        self.flush()
        now = time.monotonic()
        for conn, deadline in list(self._closing.items()):
            link = self._links[conn]
            if link is None or now >= deadline:
                self._abandon(conn)
            elif self.columns["tx_fill"][conn] == 0:
                link.half_close()
        if self._closing:
            self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)

    def _abandon(self, conn: int) -> None:
        """Close the socket now. The slot stays taken until aiohttp has let go (``release``)."""
        self._closing.pop(conn, None)
        self._drop_backlog(conn)
        self.columns["state"][conn] = STATE_GONE
        self.columns["tx_fill"][conn] = 0
        self.blocked[conn] = 0
        link = self._links[conn]
        if link is None:
            return
        if not link.tls and not link.aborted and not self._epoll.closed:
            syscalls.watch(self._epoll.fileno(), link.fd, conn, syscalls.EPOLL_CTL_DEL)
        link.abort()

    # ------------------------------------------------------------------------------------------------------ TLS

    def transport_lost(self, conn: int) -> None:
        """The event loop says that the transport is gone (TLS, or a server that shuts down)."""
        if conn in self._closing:
            self._abandon(conn)
        else:
            self._broke(conn, 1006, "eof")

    def _mark_ready(self, conn: int) -> None:
        counts = self._outputs.counts
        self._ready[counts[N_READY]] = conn
        counts[N_READY] += 1


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
