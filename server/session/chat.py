"""What of a chat line is passed on.

Invariant: text that ``cleaned`` returned has no control characters and is in NFC. Not responsible for: rates and
scopes (``sessions``).
"""

import unicodedata

_DROPPED = frozenset({"Cc", "Cs", "Co", "Cn", "Zl", "Zp"})
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Direction controls could make a line spill over its neighbours; joiners (part of emoji and of Indic words) stay."""


def cleaned(text: str) -> str:
    """NFC without control characters, each run of white space (line breaks too) one space; may be empty."""
    spaced = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(
        char for char in spaced if unicodedata.category(char) not in _DROPPED and char not in _DIRECTION
    ).strip()
