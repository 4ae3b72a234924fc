"""What ``server.transport.mmsg`` does, by one call for each datagram: for systems without sendmmsg(2) and recvmmsg(2).

Decides the same about errors. Invariants and limits as there.
"""

import errno
import socket
import struct

from kernels.hotmessages import I64
from kernels.peers import Rows
from server.transport.mmsg import (
    C_BLOCKED,
    C_BYTES,
    C_CALLS,
    C_DATAGRAMS,
    C_FAILED,
    C_INTERRUPTED,
    C_REFUSED,
    C_TOO_BIG,
)

_FULL = (errno.EAGAIN, errno.ENOBUFS)
_CELLS = {errno.EINTR: C_INTERRUPTED, errno.ECONNREFUSED: C_REFUSED, errno.EMSGSIZE: C_TOO_BIG}


def receive(sock: socket.socket, first: int, rows: Rows, counts: I64) -> int:
    """As ``mmsg.receive``."""
    room = len(rows.who)
    errors = 0
    while first < room and errors <= room:
        counts[C_CALLS] += 1
        try:
            size, name = sock.recvfrom_into(rows.wire[first])
        except OSError as error:
            if error.errno == errno.EAGAIN:
                break
            counts[_CELLS.get(error.errno or 0, C_FAILED)] += 1
            errors += 1
            continue
        packed = pack_address(sock.family, name)
        rows.wire_bytes[first] = size
        rows.address[first, : len(packed)] = bytearray(packed)
        rows.address_bytes[first] = len(packed)
        counts[C_BYTES] += size
        counts[C_DATAGRAMS] += 1
        first += 1
    return first


def send(sock: socket.socket, count: int, rows: Rows, counts: I64) -> int:
    """As ``mmsg.send``."""
    sent = at = 0
    refused_at = -1
    while at < count:
        counts[C_CALLS] += 1
        wire = memoryview(rows.wire[at])[: rows.wire_bytes[at]]
        packed = rows.address[at, : rows.address_bytes[at]].tobytes()
        try:
            took = sock.sendto(wire, unpack_address(packed)) if packed else sock.send(wire)
        except OSError as error:
            if error.errno in _FULL:
                counts[C_BLOCKED] += count - at
                break
            counts[_CELLS.get(error.errno or 0, C_FAILED)] += 1
            if error.errno == errno.EINTR:
                continue
            if error.errno == errno.ECONNREFUSED and refused_at != at:
                refused_at = at
                continue
        else:
            counts[C_BYTES] += took
            counts[C_DATAGRAMS] += 1
            sent += 1
        at += 1
    return sent


def pack_address(family: int, name: tuple[str, int] | tuple[str, int, int, int]) -> bytes:
    """A sockaddr_in or sockaddr_in6 of what Python calls an address."""
    host, port = name[:2]
    head = struct.pack("=H", family) + struct.pack(">H", port)
    if family == socket.AF_INET:
        return head + socket.inet_pton(socket.AF_INET, host) + bytes(8)
    flow, scope = name[2:] if len(name) == 4 else (0, 0)
    ip = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return head + struct.pack(">I", flow) + ip + struct.pack("=I", scope)


def unpack_address(packed: bytes) -> tuple[str, int] | tuple[str, int, int, int]:
    """The reverse."""
    (family,) = struct.unpack_from("=H", packed)
    (port,) = struct.unpack_from(">H", packed, 2)
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, packed[4:8]), port
    (flow,) = struct.unpack_from(">I", packed, 4)
    (scope,) = struct.unpack_from("=I", packed, 24)
    return socket.inet_ntop(socket.AF_INET6, packed[8:24]), port, flow, scope
