"""The table of options, derived from the classes in ``model.py``: names, types, defaults, meanings, and text to value.

Decides how a value from TOML (typed) or from the environment and flags (text) becomes a value of the option's type, and
what its owner is told when it does not. Not responsible for: which source wins (``loading.py``).
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from isthmus.config.model import AREAS


@dataclass(frozen=True, slots=True)
class Option:
    """One option: ``annotation`` is its type with bounds, as msgspec checks it."""

    area: str
    name: str
    annotation: object
    default: object
    meaning: str

    @property
    def key(self) -> str:
        """Where it stands in TOML: ``area.name``."""
        return f"{self.area}.{self.name}"

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"ISTHMUS_{self.area}_{self.name}".upper()

    @property
    def flag(self) -> str:
        """Its flag on the command line."""
        return f"--{self.area}-{self.name}".replace("_", "-")

    @property
    def accepts(self) -> str:
        """What may be given, in words: the type and its bounds."""
        return in_words(self.annotation)

    @property
    def expected(self) -> str:
        """What may be given, in words, and the default."""
        return f"{self.accepts}; the default is {show(self.default)}"


class BadValue(Exception):
    """A value that its option does not take; the text says what is wrong with it."""


def from_toml(option: Option, value: object) -> object:
    """Value of ``option`` from what TOML holds. Raises BadValue."""
    if isinstance(value, float) and not math.isfinite(value):
        raise BadValue(f"{value} is not a finite number")
    return _convert(option, value, strict=True)


def from_text(option: Option, text: str) -> object:
    """Value of ``option`` from an environment variable or flag: lists are comma-separated. Raises BadValue."""
    value: object = text
    if get_origin(_bare(option.annotation)) is tuple:
        value = [item.strip() for item in text.split(",") if item.strip()]
    elif isinstance(option.default, float):
        try:
            value = float(text)
        except ValueError:
            raise BadValue(f"{text!r} is not a number") from None
        if not math.isfinite(value):
            raise BadValue(f"{text!r} is not a finite number")
    return _convert(option, value, strict=False)


def show(value: object) -> str:
    """A value as TOML writes it; an absent one in words."""
    if value is None:
        return "absent"
    if isinstance(value, tuple):
        return "[" + ", ".join(show(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return msgspec.json.encode(value).decode() if isinstance(value, str) else str(value)


def _convert(option: Option, value: object, *, strict: bool) -> object:
    try:
        return msgspec.convert(value, type=option.annotation, strict=strict)
    except msgspec.ValidationError as problem:
        raise BadValue(f"{problem} (got {show(value) if isinstance(value, str) else value!r})") from None


def _bare(annotation: object) -> object:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _meta(annotation: object) -> Meta:
    return next((item for item in get_args(annotation)[1:] if isinstance(item, Meta)), Meta())


def in_words(annotation: object) -> str:
    """What values an option's type takes; that one may be absent goes without saying."""
    bare, meta = _bare(annotation), _meta(annotation)
    arguments = get_args(bare)
    if NoneType in arguments:
        return in_words(arguments[0])
    if bare is bool:
        return "true or false"
    if bare is int or bare is float:
        noun = "a whole number" if bare is int else "a number"
        low = f"above {meta.gt:g}" if meta.gt is not None else f"from {meta.ge:g}" if meta.ge is not None else ""
        high = f"to {meta.le}" if meta.le is not None else ""
        return " ".join(part for part in (noun, low, high) if part)
    if bare is str:
        return f"text of 1 to {meta.max_length} characters" if meta.max_length else "text"
    if get_origin(bare) is tuple:
        return "a list of texts (comma-separated in a variable or flag)"
    return "one of " + ", ".join(show(choice) for choice in arguments)


def _table() -> dict[str, Option]:
    table = {}
    for area, owner in AREAS.items():
        hints = get_type_hints(owner, include_extras=True)
        for field in dataclasses.fields(owner):
            annotation = hints[field.name]
            option = Option(area, field.name, annotation, field.default, _meta(annotation).description or "")
            table[option.key] = option
    return table


OPTIONS: Mapping[str, Option] = _table()
"""All options by key, in the order in which they are shown."""
