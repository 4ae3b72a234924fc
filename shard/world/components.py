"""Declared components and kinds: what an entity consists of beside its motion.

Decides numbers (keys), dtypes, what replicates and how it is quantised, and the schema that clients get (STANDARD.md
§3). Invariants: numbers follow the order of declaration, so the same scripts give the same schema; the largest possible
blob of a kind fits BLOB_BYTES_MAX. Not responsible for: the columns themselves (``table``), encoding of changes
(``blobs``).
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from protocol.limits import BLOB_BYTES_MAX, NAME_CHARS_MAX
from protocol.messages import pack
from protocol.walking import HEIGHT, RADIUS

Value = bool | int | float | str


class DeclarationError(ValueError):
    """A component or kind was declared in a way that cannot work; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Component:
    """One value that each entity of some kinds has.

    ``dtype``: NumPy's name of a bool, integer or float, or "U<n>" for a text of up to n characters. ``unit`` is for
    people. ``replicate``: clients are told. ``persist``: durable as soon as an act is answered; without, it is kept
    with the place, at most a second old after a crash. ``scale``: on the wire it is round(value / scale).
    """

    name: str
    dtype: str
    unit: str = ""
    replicate: bool = False
    persist: bool = True
    scale: float | None = None
    default: Value = 0

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name.startswith("_"):
            raise DeclarationError(
                f"component name {self.name!r} must be a Python identifier without leading underscore"
            )
        dtype = np.dtype(self.dtype)
        if dtype.kind not in "biufU" or (dtype.kind == "U" and dtype.itemsize == 0):
            raise DeclarationError(f"component {self.name}: dtype {self.dtype!r} is not a number, bool or U<n>")
        if self.scale is not None and (dtype.kind not in "iuf" or not self.scale > 0):
            raise DeclarationError(f"component {self.name}: scale needs a number and must be above 0")

    @property
    def wire_bytes_max(self) -> int:
        """Largest msgpack encoding of key and value."""
        dtype = np.dtype(self.dtype)
        return 3 + (3 + dtype.itemsize if dtype.kind == "U" else 9)


@dataclass(frozen=True, slots=True)
class Body:
    """A circle (or a ``square`` of half side ``radius_m``) in the ground plane that physics moves. ``drag_per_s``:
    share of the speed lost in a second, 0 to 1; ``turns``: contacts turn it."""

    radius_m: float
    mass_kg: float = 1.0
    height_m: float = 1.0
    drag_per_s: float = 0.0
    elasticity: float = 0.0
    friction: float = 0.3
    turns: bool = False
    square: bool = False

    def __post_init__(self) -> None:
        if not (0.05 <= self.radius_m <= 10 and 0.01 <= self.mass_kg <= 1e5 and self.height_m > 0):
            raise DeclarationError("body: radius_m 0.05 to 10, mass_kg 0.01 to 1e5, height_m above 0")
        if not 0 <= self.drag_per_s <= 1:
            raise DeclarationError(f"body: drag_per_s is 0 to 1, got {self.drag_per_s}")


@dataclass(frozen=True, slots=True)
class Kind:
    """Entities that have the same components. ``walker``: bodies of sessions, moved by the walker's rule."""

    name: str
    components: tuple[Component, ...] = ()
    body: Body | None = None
    walker: bool = False


NAME = Component("name", f"U{NAME_CHARS_MAX}", replicate=True, default="")
"""What a name tag shows."""
HELD_BY = Component("held_by", "u8", replicate=True)
"""Of things that hands can hold: id of the person who does, 0: nobody."""
HELD_HAND = Component("held_hand", "u1", replicate=True)
"""1 left, 2 right."""
PERSON = Kind("person", (NAME,), Body(RADIUS, mass_kg=70.0, height_m=HEIGHT), walker=True)
"""The body of a session; always kind 1."""


class Registry:
    """All components and kinds of a world, numbered from 1 in the order of declaration."""

    def __init__(self, kinds: Iterable[Kind] = (), extra: Sequence[tuple[str, Component]] = ()) -> None:
        """``extra``: components added to a kind by its name (scripts add to "person"). Raises DeclarationError."""
        declared = [PERSON, *kinds]
        merged: list[Kind] = []
        for kind in declared:
            added = tuple(component for name, component in extra if name == kind.name)
            merged.append(Kind(kind.name, (*kind.components, *added), kind.body, kind.walker))
        self.kinds: tuple[Kind, ...] = tuple(merged)
        self.kind_number = {kind.name: number for number, kind in enumerate(self.kinds, 1)}
        if len(self.kind_number) != len(self.kinds):
            raise DeclarationError("two kinds have the same name: " + ", ".join(kind.name for kind in self.kinds))
        unknown = sorted({name for name, _ in extra} - set(self.kind_number))
        if unknown:
            raise DeclarationError(f"components were added to unknown kinds: {', '.join(unknown)}")
        self.components: dict[str, Component] = {}
        for kind in self.kinds:
            for component in kind.components:
                if self.components.setdefault(component.name, component) != component:
                    raise DeclarationError(f"component {component.name} is declared twice, differently")
            size = 3 + sum(c.wire_bytes_max for c in kind.components if c.replicate)
            if size > BLOB_BYTES_MAX:
                raise DeclarationError(
                    f"kind {kind.name}: its replicated components may take {size} bytes, at most {BLOB_BYTES_MAX} fit: "
                    "shorten texts or do not replicate all of them"
                )
        self.key = {name: key for key, name in enumerate(self.components, 1)}
        self.schema: dict[str, Any] = {
            "kinds": [[number, kind.name] for number, kind in enumerate(self.kinds, 1)],
            "components": [
                [
                    self.key[c.name],
                    c.name,
                    "str" if c.dtype.startswith("U") else np.dtype(c.dtype).name,
                    c.unit,
                    c.scale,
                ]
                for c in self.components.values()
                if c.replicate
            ],
        }
        self.schema_hash: bytes = hashlib.sha256(pack(self.schema)).digest()[:8]

    def of_kinds(self, numbers: Iterable[int]) -> list[Component]:
        """Components that entities of these kinds have, in the order of declaration."""
        names = {component.name for number in numbers for component in self.kind(number).components}
        return [component for name, component in self.components.items() if name in names]

    def kind(self, number: int) -> Kind:
        return self.kinds[number - 1]
