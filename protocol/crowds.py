"""CROWD: how many are where, beyond those that a view is told of one by one (STANDARD.md §12).

Invariants: the decoder raises :class:`ProtocolViolation` only. Not responsible for: who is counted
(``kernels.crowds``), what is shown for them.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from protocol.blocks import I16, U16, Columns, closing_bin, no_rows, whole
from protocol.codes import ProtocolViolation
from protocol.messages import TICK_MAX, pack, unpack

T_CROWD: Final = 33
_ALIGN: Final = 2


@dataclass(slots=True)
class Crowd:
    """Cells of ``side_m`` metres: ``x``, ``z`` int16[c] in sides, ``count`` uint16[c], mean velocity ``vx``, ``vz``
    int16[c] (1/16 grid unit per tick)."""

    stream: int
    tick: int
    side_m: int
    x: I16 = field(default_factory=lambda: no_rows("<i2"))
    z: I16 = field(default_factory=lambda: no_rows("<i2"))
    count: U16 = field(default_factory=lambda: no_rows("<u2"))
    vx: I16 = field(default_factory=lambda: no_rows("<i2"))
    vz: I16 = field(default_factory=lambda: no_rows("<i2"))

    @property
    def total(self) -> int:
        """How many there are in all."""
        return int(self.count.sum())


def encode(c: Crowd) -> bytes:
    """Bytes of a CROWD message."""
    head = bytes([0x94, T_CROWD]) + pack(c.stream) + pack(c.tick)
    columns = [np.array([len(c.count), c.side_m], "<u2"), c.x, c.z, c.count, c.vx, c.vz]
    return closing_bin(head, b"".join(column.tobytes() for column in columns), _ALIGN)


def decode(data: bytes | bytearray | memoryview) -> Crowd | None:
    """A CROWD message; None if ``data`` is a message of another type. Raises ProtocolViolation on malformed bytes."""
    items = unpack(data)
    if type(items) is not list or not items:
        raise ProtocolViolation("malformed", "a message is an array whose first item is its type")
    if items[0] != T_CROWD:
        return None
    if len(items) < 4:
        raise ProtocolViolation("malformed", f"CROWD has only {len(items)} items")
    block = Columns(items[3], "CROWD")
    cells, side_m = (int(n) for n in block.take("<u2", 2))
    if not side_m:
        raise ProtocolViolation("malformed", "CROWD: cells have no side")
    crowd = Crowd(whole(items[1], "CROWD"), whole(items[2], "CROWD", TICK_MAX), side_m)
    crowd.x, crowd.z = block.take("<i2", cells), block.take("<i2", cells)
    crowd.count = block.take("<u2", cells)
    crowd.vx, crowd.vz = block.take("<i2", cells), block.take("<i2", cells)
    return crowd
