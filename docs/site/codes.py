"""The reference of codes: what closes a connection, what a notice is about, what answers an act, what answers a WATCH.

Invariant: every code of ``protocol`` has its words in the standard, else the build fails.
"""

import re
from enum import IntEnum
from typing import Final

from docs.site.messages import STANDARD
from docs.site.tables import table
from protocol.acting import AnswerCode
from protocol.channels import ChannelCode
from protocol.codes import Advice, Close
from protocol.notices import NoticeCode

_SESSIONS: Final = STANDARD.with_name("SESSIONS.md")
_ADVICE: Final = {
    Advice.RECONNECT_NOW: "comes back at once, with its resume ticket",
    Advice.RECONNECT_LATER: "comes back after `retry_after_ms`",
    Advice.NEW_TOKEN: "gets a new token first",
    Advice.DO_NOT_COME_BACK: "does not come back",
}
_HEAD = """# Codes

Made from `protocol` and the tables of [STANDARD.md](../../protocol/STANDARD.md) and
[SESSIONS.md](../../protocol/SESSIONS.md).

## Close codes

Of the message CLOSE and of the WebSocket. The hundreds alone tell a client what to do next; any other code, such as
1006, means a connection that broke: it comes back at once.

"""


def page() -> str:
    """The page. Raises ValueError for a code without words."""
    standard, sessions = STANDARD.read_text(encoding="utf-8"), _SESSIONS.read_text(encoding="utf-8")
    closes = [
        (
            str(int(code)),
            _found(rf"\b{int(code)} ([a-z ]+?) *[·|]", standard, code),
            f"`{code.name}`",
            _ADVICE[code.advice],
        )
        for code in Close
    ]
    parts = [_HEAD, table(("code", "meaning", "in Python", "a client"), closes)]
    tables: tuple[tuple[str, type[IntEnum], str], ...] = (
        ("Notices", NoticeCode, sessions + standard),
        ("Answers to an act", AnswerCode, _section(standard, "## 8.")),
        ("Answers to a WATCH", ChannelCode, _section(standard, "## 10.")),
    )
    for title, codes, text in tables:
        found = [(str(int(code)), _row(int(code), text, code), f"`{code.name}`") for code in codes]
        parts += [f"\n## {title}\n\n", table(("code", "meaning", "in Python"), found)]
    return "".join(parts)


def _section(text: str, heading: str) -> str:
    begin = text.index(f"\n{heading}")
    end = text.find("\n## ", begin + 1)
    return text[begin:end]


def _found(pattern: str, text: str, code: IntEnum) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"{code!r} is not explained in the standard")
    return match[1].strip()


def _row(number: int, text: str, code: IntEnum) -> str:
    """Of a table, or where a table begins behind it, of the sentence before."""
    return _found(rf"(?m)(?:^\| {number} \| |`code` {number}: )(.+?)(?: \|$|,)", text, code)
