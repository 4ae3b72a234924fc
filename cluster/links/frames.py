"""Frames between two members: a fixed header, a payload, and (without TLS) a MAC.

    length u32 | kind u8 | flags u8 | payload (length bytes) | mac (8 bytes, or none under TLS)

Decides the limits of one frame and of one message (a message longer than a frame is cut; ``MORE`` marks all pieces but
the last), and that the MAC covers direction (by its key), sequence number, header and payload. Invariant: the parser
never holds more than one frame and its caller's last read; before authentication a frame is at most
``HELLO_BYTES_MAX``. Not responsible for: what kinds mean, or when a peer is believed.
"""

import hmac
import struct
from collections.abc import Iterator
from hashlib import blake2b

from protocol.carried import Kind

HEADER = struct.Struct("!IBB")
MORE = 1
MAC_BYTES = 8
HELLO_BYTES_MAX = 512
FRAME_BYTES_MAX = 128 << 10
MESSAGE_BYTES_MAX = 64 << 20


_KINDS = {kind.value: kind for kind in Kind}


class LinkBroken(Exception):
    """The peer sent what no peer sends, or is not who it must be; the text is for the log."""


class Writer:
    """Messages to bytes, in order. ``key`` is this direction's, empty under TLS."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key
        self._seq = 0

    def frame(self, kind: Kind, payload: bytes | memoryview, *, more: bool = False) -> list[bytes | memoryview]:
        """One frame as buffers for one ``writelines``. ``payload`` holds at most FRAME_BYTES_MAX bytes."""
        header = HEADER.pack(len(payload), kind, MORE if more else 0)
        if not self._key:
            return [header, payload]
        mac = _mac(self._key, self._seq, header, payload)
        self._seq += 1
        return [header, payload, mac]


class Reader:
    """Bytes to messages. Begins unauthenticated: small frames, no MAC, until :meth:`believe`."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._key = b""
        self._seq = 0
        self._limit = HELLO_BYTES_MAX
        self._parts: dict[Kind, bytearray] = {}

    def believe(self, key: bytes = b"") -> None:
        """From the next frame on: large frames, and MACs with ``key`` unless it is empty."""
        self._key = key
        self._limit = FRAME_BYTES_MAX

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """Whole messages as (kind, payload). Raises LinkBroken; the link ends then."""
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            length, code, flags = HEADER.unpack_from(self._buffer)
            kind = _KINDS.get(code)
            if kind is None or flags & ~MORE or length > self._limit:
                raise LinkBroken(f"a frame of kind {code}, flags {flags}, {length} bytes")
            end = HEADER.size + length
            whole = end + (MAC_BYTES if self._key else 0)
            if len(self._buffer) < whole:
                return
            payload = bytes(memoryview(self._buffer)[HEADER.size : end])
            if self._key:
                mac = _mac(self._key, self._seq, bytes(self._buffer[: HEADER.size]), payload)
                if not hmac.compare_digest(mac, bytes(self._buffer[end:whole])):
                    raise LinkBroken("a frame with a wrong MAC")
                self._seq += 1
            del self._buffer[:whole]
            message = self._join(kind, payload, more=bool(flags & MORE))
            if message is not None:
                yield kind, message

    def _join(self, kind: Kind, payload: bytes, *, more: bool) -> bytes | None:
        if not more and kind not in self._parts:
            return payload
        if kind <= Kind.HEARTBEAT:
            raise LinkBroken(f"a {kind.name} in pieces")
        parts = self._parts.setdefault(kind, bytearray())
        parts += payload
        if sum(map(len, self._parts.values())) > MESSAGE_BYTES_MAX:
            raise LinkBroken(f"messages in pieces beyond {MESSAGE_BYTES_MAX} bytes")
        return None if more else bytes(self._parts.pop(kind))


def _mac(key: bytes, seq: int, header: bytes, payload: bytes | memoryview) -> bytes:
    digest = blake2b(seq.to_bytes(8, "big") + header, digest_size=MAC_BYTES, key=key)
    digest.update(payload)
    return digest.digest()
