"""Batched system calls for datagrams: one compiled call takes, or gives, as many as the socket has, or takes.

Decides what becomes of each error of sendmmsg(2) and recvmmsg(2): a full socket ends the call, an interrupted call is
made again, an error that an earlier datagram caused (ECONNREFUSED) costs nothing but a count, one that a datagram
causes itself (EMSGSIZE, an unreachable network) costs that one alone. Linux with 64-bit pointers only; ``plain`` is
for the rest. libc functions are named as external symbols, so that the compiled code can be cached on disk.
Invariants: a call never blocks, and ends. Not responsible for: what is in a datagram.
"""

import ctypes
import errno
import socket
from typing import Any, Final, NamedTuple

import numba
import numpy as np

from kernels.hotmessages import I64
from kernels.jit import jit_allocating
from kernels.peers import ADDRESS_BYTES, Rows
from server.transport.syscalls import failure

IOVEC = np.dtype([("base", "u8"), ("len", "u8")])
"""struct iovec."""
MMSGHDR = np.dtype(
    [
        ("name", "u8"),
        ("namelen", "u4"),
        ("pad", "u4"),
        ("iov", "u8"),
        ("iovlen", "u8"),
        ("control", "u8"),
        ("controllen", "u8"),
        ("flags", "i4"),
        ("pad2", "u4"),
        ("len", "u4"),
        ("pad3", "u4"),
    ]
)
"""struct mmsghdr: a struct msghdr and how many bytes came or went."""
assert IOVEC.itemsize == 16
assert MMSGHDR.itemsize == 64

_numba: Any = numba
_t = _numba.types
_sendmmsg = _t.ExternalFunction("sendmmsg", _t.int32(_t.int32, _t.uintp, _t.uint32, _t.int32))
_recvmmsg = _t.ExternalFunction("recvmmsg", _t.int32(_t.int32, _t.uintp, _t.uint32, _t.int32, _t.uintp))

_DONTWAIT: Final = int(socket.MSG_DONTWAIT)
_TRUNC: Final = int(socket.MSG_TRUNC)
_MANY: Final = 1024
"""UIO_MAXIOV: the kernel takes no more at once."""
_AGAIN: Final = errno.EAGAIN
_NOBUFS: Final = errno.ENOBUFS
_INTR: Final = errno.EINTR
_REFUSED: Final = errno.ECONNREFUSED
_MSGSIZE: Final = errno.EMSGSIZE

# Cells of the counts that both calls add to.
C_CALLS: Final = 0
C_DATAGRAMS: Final = 1
C_BYTES: Final = 2
C_BLOCKED: Final = 3
"""Datagrams that found the socket full."""
C_INTERRUPTED: Final = 4
C_REFUSED: Final = 5
C_TOO_BIG: Final = 6
C_FAILED: Final = 7
"""Any other error."""
CALL_COUNTS: Final = 8


def is_available() -> bool:
    """Whether this system has the calls, with the layouts that stand here."""
    libc = ctypes.CDLL(None)
    return ctypes.sizeof(ctypes.c_void_p) == 8 and hasattr(libc, "sendmmsg") and hasattr(libc, "recvmmsg")


class Headers(NamedTuple):
    """What the kernel is told of ``rows``; it points into those, which must live as long."""

    messages: Any
    """MMSGHDR[R]."""
    vectors: Any
    """IOVEC[R]."""


def headers_of(rows: Rows) -> Headers:
    """Headers that name the rows' ``wire`` and ``address``, in their order."""
    count = len(rows.who)
    messages, vectors = np.zeros(count, MMSGHDR), np.zeros(count, IOVEC)
    at = np.arange(count, dtype=np.uint64)
    vectors["base"] = np.uint64(rows.wire.ctypes.data) + at * np.uint64(rows.wire.strides[0])
    messages["name"] = np.uint64(rows.address.ctypes.data) + at * np.uint64(rows.address.strides[0])
    messages["iov"] = np.uint64(vectors.ctypes.data) + at * np.uint64(IOVEC.itemsize)
    messages["iovlen"] = 1
    return Headers(messages, vectors)


@jit_allocating
def receive(fd: int, first: int, rows: Rows, headers: Headers, counts: I64) -> int:
    """Fill ``rows`` from ``first`` on with what the socket has; returns where the filled ones end.

    Sets ``wire_bytes`` (more than any datagram may have if it was cut), ``address`` and ``address_bytes``.
    """
    messages = headers.messages
    room = rows.who.shape[0]
    errors = 0
    while first < room:
        most = min(room - first, _MANY)
        for i in range(first, first + most):
            messages[i].namelen = ADDRESS_BYTES
            messages[i].flags = 0
            headers.vectors[i].len = rows.wire.shape[1]
        got = _recvmmsg(fd, messages.ctypes.data + first * messages.itemsize, most, _DONTWAIT, 0)
        counts[C_CALLS] += 1
        if got < 0:
            error = failure()
            if error == _AGAIN:
                break
            if error == _INTR:
                counts[C_INTERRUPTED] += 1
            elif error == _REFUSED:
                counts[C_REFUSED] += 1
            else:
                counts[C_FAILED] += 1
            errors += 1
            if errors > room:
                break
            continue
        for i in range(first, first + got):
            cut = (messages[i].flags & _TRUNC) != 0
            rows.wire_bytes[i] = rows.wire.shape[1] if cut else messages[i].len
            rows.address_bytes[i] = messages[i].namelen
            counts[C_BYTES] += messages[i].len
        counts[C_DATAGRAMS] += got
        first += got
        if got < most:
            break
    return first


@jit_allocating
def send(fd: int, count: int, rows: Rows, headers: Headers, counts: I64) -> int:
    """Give the first ``count`` rows to the socket, each to its address (none: the one that the socket is connected
    to); returns how many it took. What finds it full is dropped and counted: whatever must come is put into another
    datagram later."""
    messages = headers.messages
    for i in range(count):
        messages[i].namelen = rows.address_bytes[i]
        messages[i].flags = 0
        headers.vectors[i].len = rows.wire_bytes[i]
    at = 0
    sent = 0
    refused_at = -1
    while at < count:
        got = _sendmmsg(fd, messages.ctypes.data + at * messages.itemsize, min(count - at, _MANY), _DONTWAIT)
        counts[C_CALLS] += 1
        if got > 0:
            for i in range(at, at + got):
                counts[C_BYTES] += messages[i].len
            counts[C_DATAGRAMS] += got
            sent += got
            at += got
            continue
        error = failure()
        if error == _AGAIN or error == _NOBUFS:
            counts[C_BLOCKED] += count - at
            break
        if error == _INTR:
            counts[C_INTERRUPTED] += 1
        elif error == _REFUSED:
            counts[C_REFUSED] += 1
            # It tells of a datagram that left before, so this one is tried again, once.
            if refused_at == at:
                at += 1
            else:
                refused_at = at
        else:
            if error == _MSGSIZE:
                counts[C_TOO_BIG] += 1
            else:
                counts[C_FAILED] += 1
            at += 1
    return sent
