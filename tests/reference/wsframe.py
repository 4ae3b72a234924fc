"""One client's WebSocket bytes, read slowly: the definition that ``kernels.wsparse`` must agree with."""

from dataclasses import dataclass, field

from kernels.wsparse import End
from protocol.codes import ProtocolViolation
from protocol.messages import Ack, Input, decode_client

Event = tuple[str, object]


@dataclass
class SlowParser:
    """Feed it bytes; ``events`` are, in order: input, ack, cold (messages), refused (a malformed INPUT or ACK), pong,
    end."""

    message_bytes_max: int
    tokens: int
    raw: bytes = b""
    partial: bytes = b""
    open: bool = False
    ended: bool = False
    events: list[Event] = field(default_factory=list)

    def feed(self, data: bytes) -> None:
        self.raw += data
        while not self.ended and self._frame():
            pass

    def _end(self, why: End, code: int = 0) -> bool:
        self.ended = True
        self.events.append(("end", (why, code)))
        return False

    def _frame(self) -> bool:
        """One frame from the start of ``raw``; False if none is whole."""
        if len(self.raw) < 2:
            return False
        fin, reserved, opcode = self.raw[0] >> 7, self.raw[0] & 0x70, self.raw[0] & 15
        masked, short = self.raw[1] >> 7, self.raw[1] & 127
        if reserved:
            return self._end(End.RESERVED_BITS)
        if opcode not in (0, 1, 2, 8, 9, 10):
            return self._end(End.BAD_OPCODE)
        if opcode == 1:
            return self._end(End.TEXT_FRAME)
        if not masked:
            return self._end(End.UNMASKED)
        if opcode >= 8 and (not fin or short > 125):
            return self._end(End.BAD_CONTROL)
        if opcode < 8 and (opcode == 0) != self.open:
            return self._end(End.BAD_FRAGMENT)
        wide = {126: 2, 127: 8}.get(short, 0)
        if len(self.raw) < 2 + wide:
            return False
        length = int.from_bytes(self.raw[2 : 2 + wide], "big") if wide else short
        if (wide == 2 and length < 126) or (wide == 8 and not 65536 <= length < 2**63):
            return self._end(End.BAD_LENGTH)
        if opcode < 8 and len(self.partial) + length > self.message_bytes_max:
            return self._end(End.OVERSIZED)
        start = 2 + wide + 4
        if len(self.raw) < start + length:
            return False
        if self.tokens < 1:
            return self._end(End.TOO_MANY_MESSAGES)
        self.tokens -= 1
        mask = self.raw[start - 4 : start]
        payload = bytes(b ^ mask[k % 4] for k, b in enumerate(self.raw[start : start + length]))
        self.raw = self.raw[start + length :]
        if opcode == 8:
            if length == 1:
                return self._end(End.BAD_CONTROL)
            return self._end(End.PEER_CLOSED, int.from_bytes(payload[:2], "big") if length else 1005)
        if opcode == 9:
            self.events.append(("pong", payload))
        elif opcode != 10:
            self.partial += payload
            self.open = not fin
            if fin:
                self._message(self.partial)
                self.partial = b""
        return True

    def _message(self, message: bytes) -> None:
        try:
            decoded = decode_client(message)
        except ProtocolViolation:
            decoded = None
        if isinstance(decoded, Input):
            self.events.append(
                ("input", (decoded.seq, decoded.frame, decoded.stamp_ms, decoded.commands, decoded.earlier or 0))
            )
        elif isinstance(decoded, Ack):
            self.events.append(("ack", (decoded.frame, decoded.stamp_ms, decoded.earlier or 0)))
        else:
            # Whatever decodes to nothing hot is handed on as it is: its user decides.
            self.events.append(("cold", message))
