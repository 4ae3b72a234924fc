"""One message as a server puts it on a WebSocket (RFC 6455 §5.2): unmasked and whole.

Not responsible for: frames of clients (``kernels.wsparse``), those of many views at once (``kernels.wsframe``).
"""


def frame(payload: bytes, opcode: int = 2) -> bytes:
    """One whole unmasked WebSocket frame."""
    size = len(payload)
    if size < 126:
        return bytes([0x80 | opcode, size]) + payload
    if size < 65536:
        return bytes([0x80 | opcode, 126]) + size.to_bytes(2, "big") + payload
    return bytes([0x80 | opcode, 127]) + size.to_bytes(8, "big") + payload
