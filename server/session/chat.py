"""What of a chat line is passed on, and how much: token buckets for each voice and for the world.

Invariant: text that ``cleaned`` returned has no control characters and is in NFC. Not responsible for: who
hears it (``sessions``).
"""

import unicodedata

from protocol.messages import SCOPE_WORLD, Say
from protocol.notices import NoticeCode
from server.session.buckets import TokenBucket
from server.session.limits import SessionLimits

_DROPPED = frozenset({"Cc", "Cs", "Co", "Cn", "Zl", "Zp"})
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Direction controls could make a line spill over its neighbours; joiners (part of emoji and of Indic words) stay."""


def cleaned(text: str) -> str:
    """NFC without control characters, each run of white space (line breaks too) one space; may be empty."""
    spaced = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(
        char for char in spaced if unicodedata.category(char) not in _DROPPED and char not in _DIRECTION
    ).strip()


class ChatRefused(Exception):
    """The line is not passed on. ``flood``: the speaker has been told often enough, and is closed."""

    def __init__(self, code: NoticeCode, text: str, *, flood: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.flood = flood


class Voice:
    """How much one session may say now. It belongs to the session, so reconnecting does not refill it."""

    __slots__ = ("strikes", "talk")

    def __init__(self, limits: SessionLimits, now_s: float) -> None:
        self.talk = TokenBucket(limits.chat_per_s, limits.chat_burst, now_s)
        self.strikes = TokenBucket(limits.chat_strikes_forgiven_per_s, limits.chat_strikes_max, now_s)


class Floor:
    """Who may speak now: each session in its measure, and all together to the whole world."""

    def __init__(self, limits: SessionLimits) -> None:
        self._world = TokenBucket(limits.world_chat_per_s, limits.world_chat_burst, 0.0)

    def admit(self, voice: Voice, say: Say, now_s: float) -> str:
        """The text to pass on. Raises ChatRefused."""
        if not voice.talk.take(now_s):
            flood = not voice.strikes.take(now_s)
            raise ChatRefused(NoticeCode.CHAT_TOO_FAST, "too many messages; wait a moment", flood=flood)
        text = cleaned(say.text)
        if not text:
            raise ChatRefused(NoticeCode.CHAT_EMPTY, "the message has no text")
        if say.scope == SCOPE_WORLD and not self._world.take(now_s):
            raise ChatRefused(NoticeCode.CHAT_BUSY, "everybody is talking; try again, or talk to those near")
        return text
