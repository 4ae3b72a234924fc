"""The reference of messages: each type's row in STANDARD.md beside the class that has it in Python.

The standard is normative and complete; this is a way into it. Invariants: every ``T_*`` of ``protocol`` has a row in
the standard and a class here, and no row is left over; else the build fails. Not responsible for: layouts of blocks
(the standard's sections 4, 9.4, 10 to 12)."""

import dataclasses
import re
from pathlib import Path
from types import ModuleType
from typing import Final

import protocol.crowds
import protocol.messages
from docs.site.tables import code, first_sentence, table
from protocol.acting import Act, Answer
from protocol.channels import Camera, Channel, Keyframe, Watch
from protocol.crowds import Crowd
from protocol.frames import Frame, Structure
from protocol.messages import (
    Ack,
    AskDatagrams,
    Bye,
    Chat,
    Closing,
    Event,
    Hello,
    Input,
    Move,
    Notice,
    Pose,
    Presence,
    Say,
    Schema,
    Token,
    Welcome,
)  # fmt: skip
from protocol.poses import Poses
from protocol.values import Values

STANDARD: Final = Path(__file__).resolve().parents[2] / "protocol" / "STANDARD.md"
FIRST_OF_SERVER: Final = 16
CLASSES: Final[dict[str, type]] = {
    "T_HELLO": Hello,
    "T_INPUT": Input,
    "T_ACK": Ack,
    "T_CHAT_SAY": Say,
    "T_ACT": Act,
    "T_BYE": Bye,
    "T_POSE": Pose,
    "T_WATCH": Watch,
    "T_DATAGRAMS": AskDatagrams,
    "T_WELCOME": Welcome,
    "T_STRUCTURE": Structure,
    "T_FRAME": Frame,
    "T_CHAT": Chat,
    "T_PRESENCE": Presence,
    "T_NOTICE": Notice,
    "T_MOVE": Move,
    "T_SCHEMA": Schema,
    "T_CLOSE": Closing,
    "T_EVENT": Event,
    "T_ANSWER": Answer,
    "T_TOKEN": Token,
    "T_VALUES": Values,
    "T_CHANNEL": Channel,
    "T_KEYFRAME": Keyframe,
    "T_CAMERA": Camera,
    "T_POSES": Poses,
    "T_CROWD": Crowd,
}
"""Constant of ``protocol`` to the class of its message."""
_ROW = re.compile(r"^\| (\d+) \| ([A-Z]+) \| (.*?) ?\|$", re.MULTILINE)
_HEAD = """# Messages

Made from [STANDARD.md](../../protocol/STANDARD.md), which is normative and says all, and from the classes of
`protocol`. Every message is a msgpack array whose first item is the number of its type; the items follow in this
order. Close codes and others: [Codes](codes.md).
"""


def constants() -> dict[str, int]:
    """Every type of message that ``protocol`` knows: name of the constant to number."""
    modules: tuple[ModuleType, ...] = (protocol.messages, protocol.crowds)
    return {name: value for m in modules for name, value in vars(m).items() if name.startswith("T_")}


def rows(standard: str) -> dict[int, tuple[str, str]]:
    """Number to name and items, from the tables of the standard's §2 and §3."""
    return {int(number): (name, items) for number, name, items in _ROW.findall(standard)}


def page(standard: str | None = None) -> str:
    """The page. Raises ValueError if standard and code do not have the same types."""
    listed = rows(STANDARD.read_text(encoding="utf-8") if standard is None else standard)
    known = constants()
    if set(known) != set(CLASSES) or set(known.values()) != set(listed):
        raise ValueError(
            f"types of the standard {sorted(listed)}, of protocol {sorted(known.values())}, "
            f"without a class {sorted(set(known) ^ set(CLASSES))}"
        )
    parts = [_HEAD]
    for name, number in sorted(known.items(), key=lambda each: each[1]):
        if number in (min(listed), FIRST_OF_SERVER):
            parts.append(f"\n## {'Server to client' if number == FIRST_OF_SERVER else 'Client to server'}\n")
        title, items = listed[number]
        owner = CLASSES[name]
        text = first_sentence(owner.__doc__)
        # Names of several types are used in both directions; an anchor is one of them.
        parts.append(f"\n### {number} {title} {{#type-{number}}}\n\n{text}\n\n")
        parts.append(
            f"On the wire: {items or 'nothing more'}\n\n" if owner is not Welcome else "On the wire: one map.\n\n"
        )
        if fields := dataclasses.fields(owner):
            parts.append(f"`{owner.__module__}.{owner.__name__}`\n\n")
            parts.append(table(("field", "type"), [(code(field.name), _type(field)) for field in fields]))
    return "".join(parts)


def _type(field: "dataclasses.Field[object]") -> str:
    annotation = field.type
    return code(annotation if isinstance(annotation, str) else _plain(annotation))


def _plain(annotation: object) -> str:
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    text = re.sub(r"\b(typing|collections\.abc)\.", "", str(annotation))
    column = re.fullmatch(r"numpy\.ndarray\[.*numpy\.dtype\[numpy\.(\w+)\]\]", text)
    return f"{column[1]} column" if column else text
