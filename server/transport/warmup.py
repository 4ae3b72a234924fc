"""Compiles, or loads from the cache, every kernel of the transport, on a pair of local sockets.

Invariant: after it, no poll, send or post compiles anything; a test counts the signatures.
"""

import select
import socket
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from kernels.hotmessages import COUNTS
from kernels.wsparse import STATE_OPEN, parse
from protocol.datagrams import KIND_MESSAGE, binding, open_sealed, plaintext, seal, stream_part
from protocol.messages import Ack, Bye, encode_client
from protocol.wsframe import frame
from server.transport import syscalls
from server.transport.carriers import Carriers
from server.transport.config import CarrierConfig
from server.transport.datagrams.config import DatagramConfig
from server.transport.datagrams.live import UdpWay
from server.transport.datagrams.transport import Datagrams
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
        hot = (out.inputs, out.input_earlier, out.command_counts, out.commands, out.acks, out.ack_earlier)
        columns = (*hot, out.cold, out.cold_bytes, out.ends)
        arguments: tuple[Any, ...] = (carriers._ready, 0, *areas, *limits, *columns, np.zeros(COUNTS, np.int64))
        parse(*arguments)
        note = as_array(frame(b"a"))
        enqueue(conn, note, np.zeros(0, np.uint32), 2, carriers.columns, carriers._tx, 100, np.zeros(1, np.int32))
        carriers.send(as_array(frame(b"b")), conn, np.zeros(1, np.int64), np.full(1, 3, np.int64))
        if theirs.recv(100) != frame(b"a") + frame(b"b"):
            raise RuntimeError("the transport's kernels did not send a frame")
        syscalls.watch(carriers._epoll.fileno(), ours.fileno(), 0, syscalls.EPOLL_CTL_DEL)
    carriers.stop()
    _warm_datagrams()


def _warm_datagrams() -> None:
    """A token, a message each way over the stream and by itself, between two sockets of loopback."""
    now_ms = [0]
    datagrams = Datagrams(DatagramConfig(capacity=2, arrivals_max=8, departures_max=8), 5, clock_ms=lambda: now_ms[0])
    way = datagrams.way
    assert isinstance(way, UdpWay)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
        theirs.bind(("127.0.0.1", 0))
        theirs.settimeout(5.0)
        token = datagrams.token(7)
        bind = binding(7, token.number, datagrams.address)
        up, down = ChaCha20Poly1305(token.key_up), ChaCha20Poly1305(token.key_down)
        bye = encode_client(Bye())
        parts = [stream_part(0, len(bye).to_bytes(4, "little") + bye), (KIND_MESSAGE, encode_client(Ack(0, 0, 0)))]
        theirs.sendto(seal(up, token.number, 1, bind, plaintext(0, parts)), way.sock.getsockname())
        select.select([way.sock], [], [], 5.0)
        if datagrams.poll(0).cold != [(5, bye)]:
            raise RuntimeError("the transport's kernels did not deliver a message over datagrams")
        conn, buffer = np.full(2, 5, np.int32), as_array(b"ab")
        datagrams.post(conn[:1], b"note")
        datagrams.post(conn[:1], b"numbered", np.ones(1, np.uint32))
        one = np.ones(2, np.int64)
        datagrams.send(buffer, conn, np.arange(2), one, np.array([1, KIND_MESSAGE], np.uint8))
        note = as_array(frame(b"a"))
        datagrams.send_frames(note, conn[:1], np.zeros(1, np.int64), np.full(1, len(note), np.int64))
        datagrams.post(conn[:1], bytes(datagrams.config.post_bytes_max + 1))
        datagrams.flush()
        if datagrams.blocked.tolist() != [1, 0] or open_sealed(down, token.number, bind, theirs.recv(2048)) is None:
            raise RuntimeError("the transport's kernels did not send a datagram")
    datagrams.stop()
