"""Batched system calls: one compiled call receives from, or sends to, all connections that are ready.

Decides nothing: it moves bytes between sockets and the areas of ``Carriers``, and says which connections ended. Linux
only (epoll). libc functions are named as external symbols, so that the compiled code can be cached on disk. Invariant:
a call never blocks. Not responsible for: what the bytes mean (``kernels.wsparse``), closing sockets (``carriers``).
"""

import errno
import platform
import socket
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from kernels import wsparse
from kernels.hotmessages import I32, I64, N_CALLS, N_END, N_READY, N_RX_BYTES, U8, U32, U64
from kernels.jit import jit_allocating
from kernels.wsparse import STATE_CLOSING, STATE_GONE, STATE_OPEN

EPOLL_EVENT = np.dtype([("events", "u4"), ("data", "u8")], align=platform.machine() != "x86_64")
"""struct epoll_event; the kernel packs it on x86-64 alone (epoll_ctl(2))."""

EPOLL_CTL_ADD: Final = 1
EPOLL_CTL_DEL: Final = 2
_EPOLLIN: Final = 0x001

_END_EOF: Final = int(wsparse.End.EOF)
_END_RESET: Final = int(wsparse.End.RESET)
_DONTWAIT: Final = int(socket.MSG_DONTWAIT)
_SEND_FLAGS: Final = int(socket.MSG_DONTWAIT) | int(socket.MSG_NOSIGNAL)
_AGAIN: Final = errno.EAGAIN
_INTR: Final = errno.EINTR

# numba's annotations describe neither symbols called by compiled code nor all that it exports.
_numba: Any = numba
_t = _numba.types
_carray = _numba.carray
# Pointers are passed as integers of their size: the same registers, and the signature stays cacheable.
_epoll_wait = _t.ExternalFunction("epoll_wait", _t.int32(_t.int32, _t.uintp, _t.int32, _t.int32))
_epoll_ctl = _t.ExternalFunction("epoll_ctl", _t.int32(_t.int32, _t.int32, _t.int32, _t.uintp))
_recv = _t.ExternalFunction("recv", _t.intp(_t.int32, _t.uintp, _t.uintp, _t.int32))
_send = _t.ExternalFunction("send", _t.intp(_t.int32, _t.uintp, _t.uintp, _t.int32))
_errno_location = _t.ExternalFunction("__errno_location", _t.CPointer(_t.int32)())

# Cells of the counts that send() adds to.
S_BYTES: Final = 0
S_FRAMES: Final = 1
S_AGAIN: Final = 2
S_LOST: Final = 3
S_OVERFLOW: Final = 4
S_CALLS: Final = 5
SEND_COUNTS: Final = 6


@jit_allocating
def failure() -> int:
    """The errno of the call before."""
    return int(_carray(_errno_location(), (1,))[0])


@jit_allocating
def watch(epoll_fd: int, fd: int, conn: int, operation: int) -> int:
    """epoll_ctl(2) for level-triggered reading; events of ``fd`` name ``conn``. Returns 0 or an errno."""
    event = np.zeros(1, EPOLL_EVENT)
    event[0].events = _EPOLLIN
    event[0].data = conn
    if _epoll_ctl(epoll_fd, operation, fd, event.ctypes.data) != 0:
        return failure()
    return 0


@jit_allocating
def receive(epoll_fd: int, events: Any, carriers: Any, rx: U8, scratch: U8, ready: I32, ends: I32, counts: I64) -> None:
    """One recv(2) on each connection that has something, into its area; appends to ``ready`` (int32[N]) those with new
    bytes.

    ``events``: EPOLL_EVENT[N]. ``scratch``: uint8[any]: where a closing connection's bytes go to be forgotten. A
    connection at its end is appended to ``ends`` (int32[3, N]) with End.EOF or End.RESET and becomes STATE_GONE.
    """
    found = _epoll_wait(epoll_fd, events.ctypes.data, events.shape[0], 0)
    counts[N_CALLS] += 1
    for k in range(found):
        conn = np.int64(events[k].data)
        link = carriers[conn]
        if link.state == STATE_OPEN:
            space = rx.shape[1] - link.rx_fill
            got = _recv(link.fd, rx.ctypes.data + conn * rx.shape[1] + link.rx_fill, space, _DONTWAIT)
        elif link.state == STATE_CLOSING:
            got = _recv(link.fd, scratch.ctypes.data, scratch.shape[0], _DONTWAIT)
        else:
            continue
        counts[N_CALLS] += 1
        if got > 0:
            counts[N_RX_BYTES] += got
            link.rx_bytes += got
            if link.state == STATE_OPEN:
                link.rx_fill += got
                ready[counts[N_READY]] = conn
                counts[N_READY] += 1
            continue
        if got < 0:
            error = failure()
            if error == _AGAIN or error == _INTR:
                continue
        n = counts[N_END]
        ends[0, n] = conn
        ends[1, n] = _END_EOF if got == 0 else _END_RESET
        ends[2, n] = 1006
        counts[N_END] = n + 1
        link.state = STATE_GONE


@jit_allocating
def receive_and_parse(
    epoll_fd: int,
    events: Any,
    carriers: Any,
    rx: U8,
    tx: U8,
    scratch: U8,
    now_ms: int,
    tokens_per_ms: float,
    burst: float,
    message_bytes_max: int,
    post_bytes_max: int,
    ready: I32,
    inputs: U32,
    input_earlier: U64,
    command_counts: U8,
    commands: U8,
    acks: U32,
    ack_earlier: U64,
    cold: I32,
    cold_bytes: U8,
    ends: I32,
    counts: I64,
) -> int:
    """``receive`` and ``kernels.wsparse.parse`` in one call; returns what ``parse`` returns."""
    receive(epoll_fd, events, carriers, rx, scratch, ready, ends, counts)
    return wsparse.parse(
        ready,
        0,
        carriers,
        rx,
        tx,
        now_ms,
        tokens_per_ms,
        burst,
        message_bytes_max,
        post_bytes_max,
        inputs,
        input_earlier,
        command_counts,
        commands,
        acks,
        ack_earlier,
        cold,
        cold_bytes,
        ends,
        counts,
    )


@jit_allocating
def _push(link: Any, address: int, length: int, counts: I64) -> int:
    """One send(2) of ``length`` bytes; returns how many left, or -1 if the connection is broken."""
    counts[S_CALLS] += 1
    sent = _send(link.fd, address, length, _SEND_FLAGS)
    if sent >= 0:
        link.tx_bytes += sent
        counts[S_BYTES] += sent
        if sent < length:
            counts[S_AGAIN] += 1
        return int(sent)
    error = failure()
    if error == _AGAIN or error == _INTR:
        counts[S_AGAIN] += 1
        return 0
    return -1


@jit_allocating
def _drop(link: Any, conn: int, lost: I32, counts: I64) -> None:
    lost[counts[S_LOST]] = conn
    counts[S_LOST] += 1
    link.state = STATE_GONE
    link.tx_fill = 0


@jit_allocating
def _flush_one(link: Any, conn: int, out: U8, blocked: U8, lost: I32, counts: I64) -> None:
    """Send what waits in a connection's transmit area, and move the rest to its start."""
    fill = int(link.tx_fill)
    sent = _push(link, out.ctypes.data, fill, counts)
    if sent < 0:
        blocked[conn] = 0
        _drop(link, conn, lost, counts)
        return
    if 0 < sent < fill:
        for k in range(fill - sent):
            out[k] = out[sent + k]
    link.tx_fill = fill - sent
    blocked[conn] = 1 if sent < fill else 0


@jit_allocating
def send(
    buffer: U8,
    conn: I32,
    offset: I64,
    length: I64,
    turn: int,
    carriers: Any,
    tx: U8,
    blocked: U8,
    lost: I32,
    overflow: I32,
    counts: I64,
) -> None:
    """Write ``buffer[offset[i]:offset[i] + length[i]]`` to ``conn[i]``, then all that waits elsewhere. Frames carry
    their headers.

    What waits for a connection leaves before its frame, in one call with it. What the socket does not take is copied to
    ``tx`` (uint8[N, T]). ``turn`` (uint32) differs in each call. Connections that broke go to ``lost`` (int32[N]);
    those whose area cannot hold the frame to ``overflow`` (int32[N]), and nothing of that frame is kept. Connections
    that are not open are passed over.
    """
    for i in range(conn.shape[0]):
        c = conn[i]
        link = carriers[c]
        if link.state != STATE_OPEN:
            continue
        size = length[i]
        start = offset[i]
        out = tx[c]
        fill = int(link.tx_fill)
        if fill == 0 and link.tls == 0:
            sent = _push(link, buffer.ctypes.data + start, size, counts)
            if sent < 0:
                _drop(link, c, lost, counts)
                continue
            counts[S_FRAMES] += 1
            if sent == size:
                continue
            start += sent
            size -= sent
            link.tried = turn
        else:
            counts[S_FRAMES] += 1
        if fill + size > out.shape[0]:
            overflow[counts[S_OVERFLOW]] = c
            counts[S_OVERFLOW] += 1
            link.state = STATE_GONE
            continue
        for k in range(size):
            out[fill + k] = buffer[start + k]
        link.tx_fill = fill + size
        blocked[c] = 1
    for c in range(carriers.shape[0]):
        link = carriers[c]
        if link.tx_fill == 0 or link.tls == 1 or link.tried == turn:
            continue
        if link.state == STATE_OPEN or link.state == STATE_CLOSING:
            link.tried = turn
            _flush_one(link, c, tx[c], blocked, lost, counts)


def empty_entries() -> tuple[U8, I32, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Arguments of ``send`` that name no frame: a plain flush."""
    return np.zeros(0, np.uint8), np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64)
