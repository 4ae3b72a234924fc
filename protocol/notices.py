"""Codes of NOTICE: what a client is told without being closed (SESSIONS.md).

Invariant: codes are never reused for another meaning; a client shows the text of codes it does not know.
"""

from enum import IntEnum


class NoticeCode(IntEnum):
    """Why something that a client said had no effect, or not the one it was meant for; or what an operator says to
    everybody (OPERATOR)."""

    CHAT_TOO_FAST = 1
    CHAT_BUSY = 2
    CHAT_EMPTY = 3
    CHAT_NOBODY = 4
    CHAT_NOT_ALLOWED = 5
    NOT_RESUMED = 6
    OPERATOR = 7
