"""Server-to-client WebSocket frame headers (RFC 6455 §5.2): final binary frames, not masked."""

from kernels.jit import jit
from kernels.layout import U8, Int


@jit
def header_bytes(length: Int) -> int:
    """How long the header of a frame with ``length`` payload bytes is."""
    if length < 126:
        return 2
    return 4 if length < 65536 else 10


@jit
def write_header(out: U8, at: Int, length: Int, opcode: Int) -> int:
    """Write the header of a final frame at ``out[at:]``; returns where the payload begins."""
    out[at] = 0x80 | opcode
    if length < 126:
        out[at + 1] = length
        return at + 2
    if length < 65536:
        out[at + 1] = 126
        out[at + 2] = length >> 8
        out[at + 3] = length & 255
        return at + 4
    out[at + 1] = 127
    for k in range(8):
        out[at + 2 + k] = (length >> (8 * (7 - k))) & 255
    return at + 10


@jit
def payload_of(data: U8, at: Int) -> tuple[int, int]:
    """Where the payload of the frame at ``data[at:]``, one of ours, begins, and its length."""
    size = int(data[at + 1])
    if size < 126:
        return at + 2, size
    count = 2 if size == 126 else 8
    size = 0
    for k in range(count):
        size = size << 8 | int(data[at + 2 + k])
    return at + 2 + count, size
