"""What a client asks for once and gets an answer to: ACT and ANSWER, and the values that both carry (STANDARD.md §8).

Invariant: a value that ``check_value`` let pass is small, shallow, and the same after any number of encodings.
Not responsible for: bytes (``messages``), what an action does (``shard``), repeating (``client``, ``server.core``).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from protocol import limits
from protocol.codes import ProtocolViolation


class AnswerCode(IntEnum):
    """The first thing an ANSWER says. But for DONE its value is a text for people, and nothing was changed."""

    DONE = 0
    REFUSED = 1
    """The world's author, or the world itself, does not allow it now."""
    UNKNOWN = 2
    """This body has no action of that name."""
    FAILED = 3
    """The action has a mistake, and is switched off."""
    FORGOTTEN = 4
    """It was carried out and answered before, so long ago that the answer is not kept any more."""


@dataclass(frozen=True, slots=True)
class Act:
    """Carry out the action ``name``; ``number`` counts up from 1 within a session."""

    number: int
    name: str
    payload: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of the act ``number``: ``value`` is the action's own if ``code`` is 0, else a text."""

    number: int
    code: int
    value: Any = None
    sseq: int = 0


def check_name(name: str) -> None:
    """Raises ProtocolViolation unless it can be an action's name."""
    if not name or len(name.encode()) > limits.ACT_NAME_BYTES_MAX:
        text = f"ACT: the name has 1 to {limits.ACT_NAME_BYTES_MAX} bytes of UTF-8"
        raise ProtocolViolation("act_name", text)


def check_value(value: object, where: str, depth: int = 0) -> None:
    """Raises ProtocolViolation unless ``value`` is made of nil, booleans, numbers, texts, bin, arrays, and maps with
    texts as keys, none deeper than the limit. That is what every implementation has the same idea of."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str, bytes):
        return
    if kind not in (list, dict):
        raise ProtocolViolation("act_value", f"{where}: {kind.__name__} cannot be carried")
    if depth == limits.ACT_DEPTH_MAX:
        raise ProtocolViolation("act_value", f"{where}: deeper than {limits.ACT_DEPTH_MAX}")
    if isinstance(value, dict):
        if not all(type(key) is str for key in value):
            raise ProtocolViolation("act_value", f"{where}: keys of a map must be texts")
        value = list(value.values())
    assert isinstance(value, list)
    for inner in value:
        check_value(inner, where, depth + 1)
