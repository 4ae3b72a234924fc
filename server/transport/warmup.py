"""Compiles, or loads from the cache, every kernel of the transport, on a pair of local sockets.

Invariant: after it, no poll, send or post compiles anything; a test counts the signatures.
"""

import socket
from typing import Any

import numpy as np

from kernels.wsparse import COUNTS, STATE_OPEN, parse
from protocol.messages import Bye, encode_client
from protocol.wsframe import frame
from server.transport import syscalls
from server.transport.carriers import Carriers
from server.transport.config import CarrierConfig
from server.transport.outbox import as_array, enqueue


def warm_up() -> None:
    """Send and receive once on each path. Needs no event loop. Raises RuntimeError if a byte goes astray."""
    carriers = Carriers(CarrierConfig(capacity=2))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        conn = np.zeros(1, np.int32)
        syscalls.watch(carriers._epoll.fileno(), ours.fileno(), 0, syscalls.EPOLL_CTL_ADD)
        row = carriers.columns[0]
        row["fd"], row["state"], row["tokens"] = ours.fileno(), STATE_OPEN, 10
        bye = encode_client(Bye())
        theirs.send(bytes([0x82, 0x80 | len(bye), 0, 0, 0, 0]) + bye)
        if carriers.poll(0).cold != [(0, bye)]:
            raise RuntimeError("the transport's kernels did not deliver a message")
        out = carriers._outputs
        limits = (0, 0.06, 10.0, carriers.config.message_bytes_max, carriers.config.post_bytes_max)
        areas = (carriers.columns, carriers._rx, carriers._tx)
        columns = (out.inputs, out.command_counts, out.commands, out.acks, out.cold, out.cold_bytes, out.ends)
        arguments: tuple[Any, ...] = (carriers._ready, 0, *areas, *limits, *columns, np.zeros(COUNTS, np.int64))
        parse(*arguments)
        note = as_array(frame(b"a"))
        enqueue(conn, note, np.zeros(0, np.uint32), 2, carriers.columns, carriers._tx, 100, np.zeros(1, np.int32))
        carriers.send(as_array(frame(b"b")), conn, np.zeros(1, np.int64), np.full(1, 3, np.int64))
        if theirs.recv(100) != frame(b"a") + frame(b"b"):
            raise RuntimeError("the transport's kernels did not send a frame")
        syscalls.watch(carriers._epoll.fileno(), ours.fileno(), 0, syscalls.EPOLL_CTL_DEL)
    carriers.stop()
