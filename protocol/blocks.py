"""Blocks: columns one behind the other in the bin that ends a message (STANDARD.md §1, §4).

Invariants: what reads bytes raises :class:`ProtocolViolation` only; columns are views of the given bytes. Not
responsible for: which columns a message has (``frames``, ``values``).
"""

from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from protocol.codes import ProtocolViolation
from protocol.messages import U32_MAX

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U64 = npt.NDArray[np.uint64]
I8 = npt.NDArray[np.int8]
I16 = npt.NDArray[np.int16]

TICK_MAX: Final = 2**53
"""Ticks are numbers that JavaScript holds exactly; a client may calculate with them in 64 bits without a thought."""


@cache
def no_rows(dtype: str, width: int = 0) -> Any:
    """A column without rows; there is nothing in it to change, so all messages share it."""
    return np.zeros((0, width) if width else 0, dtype)


def closing_bin(head: bytes, columns: bytes, align: int) -> bytes:
    """A bin that ends the message: pad byte count, pads, columns; 16 or 32 bit length by size."""
    length_bytes = 3 if len(columns) + align <= 0xFFFF else 5
    pads = -(len(head) + length_bytes + 1) % align
    size = 1 + pads + len(columns)
    marker = b"\xc5" + size.to_bytes(2, "big") if length_bytes == 3 else b"\xc6" + size.to_bytes(4, "big")
    return head + marker + bytes([pads]) + b"\0" * pads + columns


class Columns:
    """Cuts a block into columns, checking bounds."""

    def __init__(self, block: Any, name: str) -> None:
        if type(block) is not bytes or not block or 1 + block[0] > len(block):
            raise ProtocolViolation("malformed", f"{name}: block has no columns")
        self._block = block
        self._at = 1 + block[0]
        self._name = name

    def take(self, dtype: str, count: int, width: int = 1) -> Any:
        """The next column of ``count`` values, or of rows of ``width``; a view of the block."""
        if not count:
            return no_rows(dtype, 0 if width == 1 else width)
        size = int(dtype[-1]) * count * width
        if self._at + size > len(self._block):
            raise ProtocolViolation(
                "malformed", f"{self._name}: block of {len(self._block)} bytes ends within a column"
            )
        column = np.frombuffer(self._block, dtype, count * width, self._at)
        self._at += size
        return column if width == 1 else column.reshape(width, count).T

    def blobs(self, sizes: U16) -> list[bytes]:
        """The next blobs, of these sizes in bytes."""
        return [self.take("u1", size).tobytes() for size in sizes.tolist()]


def whole(value: Any, name: str, most: int = U32_MAX) -> int:
    """An integer from 0 to ``most``. Raises ProtocolViolation."""
    if type(value) is not int or not 0 <= value <= most:
        raise ProtocolViolation("wrong_type", f"{name}: an integer from 0 to {most} was expected")
    return value


def place(value: Any, name: str) -> tuple[int, int, int]:
    """An origin: three 32-bit integers. Raises ProtocolViolation."""
    if type(value) is not list or len(value) != 3 or any(type(c) is not int or abs(c) >= 2**31 for c in value):
        raise ProtocolViolation("wrong_type", f"{name}: origin must be three 32-bit integers")
    return value[0], value[1], value[2]
