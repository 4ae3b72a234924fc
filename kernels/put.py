"""Bytes of msgpack, and of columns, written into a buffer.

Invariant: each function writes at ``at`` and, where it writes a value of the message, returns where the next one goes.
Not responsible for: what a message holds (``encode``, ``values``, ``crowds``).
"""

from kernels.jit import jit
from kernels.layout import U8, Int


@jit
def put_uint(out: U8, at: Int, value: Int) -> int:
    """Shortest msgpack of a non-negative integer; returns where the next value goes."""
    if value < 128:
        out[at] = value
        return at + 1
    if value < 256:
        out[at] = 0xCC
        out[at + 1] = value
        return at + 2
    if value < 65536:
        out[at] = 0xCD
        width = 2
    elif value < 4294967296:
        out[at] = 0xCE
        width = 4
    else:
        out[at] = 0xCF
        width = 8
    for k in range(width):
        out[at + 1 + k] = (value >> (8 * (width - 1 - k))) & 255
    return at + 1 + width


@jit
def put_int(out: U8, at: Int, value: Int) -> int:
    """Shortest msgpack of an integer of at most 32 bits."""
    if value >= 0:
        return put_uint(out, at, value)
    if value >= -32:
        out[at] = value & 255
        return at + 1
    if value >= -128:
        out[at] = 0xD0
        out[at + 1] = value & 255
        return at + 2
    if value >= -32768:
        out[at] = 0xD1
        width = 2
    else:
        out[at] = 0xD2
        width = 4
    for k in range(width):
        out[at + 1 + k] = (value >> (8 * (width - 1 - k))) & 255
    return at + 1 + width


@jit
def put_u16(out: U8, at: Int, value: Int) -> None:
    """Little-endian 16 bits, signed or not."""
    out[at] = value & 255
    out[at + 1] = (value >> 8) & 255


@jit
def put_u32(out: U8, at: Int, value: Int) -> None:
    """Little-endian 32 bits, signed or not."""
    for k in range(4):
        out[at + k] = (value >> (8 * k)) & 255


@jit
def put_bin(out: U8, at: Int, message_at: Int, columns: Int, align: Int) -> int:
    """Header and pads of a block of ``columns`` bytes; returns where the columns begin."""
    pads = -(at - message_at + 4) % align
    size = 1 + pads + columns
    out[at] = 0xC5
    out[at + 1] = size >> 8
    out[at + 2] = size & 255
    out[at + 3] = pads
    for k in range(pads):
        out[at + 4 + k] = 0
    return at + 4 + pads
