"""Close codes and reasons: what ends a session, and what its client does next (STANDARD.md §3).

Invariant: the range of a code alone tells a client whether to come back. Not responsible for: deciding to close.
"""

from enum import IntEnum


class Advice(IntEnum):
    """What a client does after a close, in the order of the code ranges."""

    RECONNECT_NOW = 0
    RECONNECT_LATER = 1
    NEW_TOKEN = 2
    DO_NOT_COME_BACK = 3


class Close(IntEnum):
    """Close codes, also used as WebSocket close codes (RFC 6455 §7.4.2: 4000–4999 are for private use)."""

    GOING_AWAY = 4000
    MOVED = 4001
    TOO_SLOW = 4002
    HEARTBEAT = 4003
    IDLE_LINK = 4004
    FULL = 4100
    STARTING = 4101
    TOO_MANY_MESSAGES = 4102
    TOO_MANY_CONNECTIONS = 4103
    TOKEN_EXPIRED = 4200
    TOKEN_INVALID = 4201
    TOKEN_MISSING = 4202
    PROTOCOL = 4300
    VERSION = 4301
    NAME = 4302
    REPLACED = 4303
    TOO_LARGE = 4304
    KICKED = 4305
    ORIGIN = 4306

    @property
    def advice(self) -> Advice:
        """What the client should do."""
        return Advice((self.value - 4000) // 100)


def advice_of(code: int) -> Advice:
    """Advice for any WebSocket close code; codes outside our ranges (1006: the connection broke) mean "reconnect
    now"."""
    return Advice((code - 4000) // 100) if 4000 <= code < 4400 else Advice.RECONNECT_NOW


class ProtocolViolation(Exception):
    """A peer sent what the standard does not allow. Closes that session alone.

    ``reason`` is a short stable word that metrics count by; ``text`` is for people.
    """

    def __init__(self, reason: str, text: str, code: Close = Close.PROTOCOL) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.code = code
