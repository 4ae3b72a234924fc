"""From a scenario's file to a ``Scenario``, or to everything that is wrong with it.

Decides that an unknown name is a mistake, with the nearest known one as its remedy, and that all mistakes are told at
once. Invariant: ``parse`` reads nothing and raises ScenarioError alone, whatever the text. Not responsible for: whether
the world's file is a world.
"""

import difflib
import os.path
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, replace
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from loadtest.figures import budget_names, split_budget
from loadtest.scenario import KINDS, Act, Entry, Generator, Move, Ramp, Scenario, Storm, Trouble

T = TypeVar("T")
SCENARIOS = Path(__file__).parent / "scenarios"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_OWN = re.compile(r"[^:]+\.py:[A-Za-z_]\w*")


class ScenarioError(ValueError):
    """A scenario that cannot be run; the text names every mistake, where it is and what to do."""


def known() -> list[str]:
    """Names of the scenarios that come with the project."""
    return sorted(path.stem for path in SCENARIOS.glob("*.toml"))


def find(name: str) -> Path:
    """The file of a scenario: one of ours by name, or any by path. Raises ScenarioError."""
    path = Path(name) if name.endswith(".toml") else SCENARIOS / f"{name}.toml"
    if not path.is_file():
        raise ScenarioError(
            f"there is no scenario {name}: give the path of a .toml file, or one of {', '.join(known())}"
        )
    return path.resolve()


def read(name: str) -> Scenario:
    """The scenario with this name or path. Raises ScenarioError."""
    path = find(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ScenarioError(f"{path} cannot be read: {problem}") from problem
    scenario = parse(text, path)
    if not scenario.world.is_file():
        raise ScenarioError(f"{path}: world: there is no file {scenario.world}")
    return scenario


def parse(text: str, path: Path) -> Scenario:
    """``path`` names the text in messages, and its folder is where paths in it begin. Raises ScenarioError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise ScenarioError(f"{path}: this is not TOML: {problem}") from problem
    reader = _Reader()
    scenario = reader.scenario(document, path)
    if reader.problems or scenario is None:
        count = len(reader.problems)
        head = f"{path}: {count} mistake{'s' if count > 1 else ''}; nothing was started."
        raise ScenarioError("\n".join([head, *(f"  {problem}" for problem in reader.problems)]))
    return scenario


def nearest(name: str, names: Iterable[str]) -> str:
    """A remedy for a name that is not known."""
    listed = list(names)
    close = difflib.get_close_matches(name, listed, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known are {', '.join(listed)}" if len(listed) <= 20 else "docs/LOADTEST.md lists them"


class _Reader:
    """Gathers mistakes while it reads one document."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def _bad(self, where: str, what: str) -> None:
        self.problems.append(f"{where}: {what}")

    def scenario(self, document: Mapping[str, Any], path: Path) -> Scenario | None:
        rest = {key: value for key, value in document.items() if key not in ("path", "world")}
        nested: dict[str, Any] = {
            "ramp": self._ramp(document.get("ramp")),
            "users": self._users(document.get("users")),
            "storms": self._list(Storm, document.get("storms", []), "storms"),
            "generator": self._table(Generator, document.get("generator", {}), "generator"),
        }
        if "path" in document:
            self._bad("path", "there is no such key")
        world = document.get("world")
        if not isinstance(world, str) or not world:
            self._bad("world", "the path of a world's file is missing, relative to the scenario's folder")
            world = "."
        given = {key: value for key, value in rest.items() if key not in nested}
        given |= {
            "ramp": Ramp(points=((0.0, 0), (1.0, 1))),
            "users": {},
            "world": Path(os.path.normpath(path.parent / world)),
            "path": path,
        }
        found = self._table(Scenario, given, "", given=("ramp", "users", "storms", "generator", "world", "path"))
        self._budgets(document.get("budgets"), "budgets")
        self._storms(nested["storms"], nested["ramp"])
        if found is None or self.problems:
            return None
        return replace(found, **{**nested, "storms": tuple(sorted(nested["storms"], key=lambda storm: storm.at_s))})

    def _ramp(self, value: object) -> Ramp | None:
        if value is None:
            self._bad("ramp", "write [ramp] with points = [[second, users], …]")
            return None
        before, ramp = len(self.problems), self._table(Ramp, value, "ramp")
        if ramp is None:
            return None
        times = [second for second, _ in ramp.points]
        if len(times) < 2 or times[0] != 0 or not all(a < b < inf for a, b in pairwise(times)):
            self._bad("ramp.points", "at least two points are needed, the first at second 0, seconds ascending")
        elif any(users < 0 for _, users in ramp.points) or not any(users for _, users in ramp.points):
            self._bad("ramp.points", "users are whole numbers, and some point has more than 0")
        elif ramp.judged_from_s >= times[-1]:
            self._bad("ramp.judged_from_s", f"must be before the last point, second {times[-1]:g}")
        return ramp if len(self.problems) == before else None

    def _storms(self, storms: tuple[Storm, ...], ramp: Ramp | None) -> None:
        for index, storm in enumerate(storms):
            if ramp is not None and storm.at_s >= ramp.points[-1][0]:
                self._bad(f"storms[{index}].at_s", f"must be before the last point, second {ramp.points[-1][0]:g}")
            if not 0.0 <= storm.away_s[0] <= storm.away_s[1]:
                self._bad(f"storms[{index}].away_s", "must be [least, most] in seconds")

    def _users(self, value: object) -> dict[str, Entry]:
        if not isinstance(value, dict) or not value:
            self._bad("users", "write [users.<name>] for each kind of user in the mix")
            return {}
        found = {}
        for name, table in value.items():
            where = f"users.{name}"
            if not _NAME.fullmatch(name):
                self._bad(where, "a name is small letters, digits and _, at most 31")
            entry = self._entry(table, where)
            if entry is not None:
                found[name] = entry
        return found

    def _entry(self, table: object, where: str) -> Entry | None:
        if not isinstance(table, dict):
            self._bad(where, "must be a table")
            return None
        nested: dict[str, Any] = {}
        if "move" in table:
            nested["move"] = self._table(Move, table["move"], f"{where}.move")
        if "trouble" in table:
            nested["trouble"] = self._table(Trouble, table["trouble"], f"{where}.trouble")
        if "acts" in table:
            nested["acts"] = self._list(Act, table["acts"], f"{where}.acts")
        self._budgets(table.get("budgets"), f"{where}.budgets")
        rest = {key: value for key, value in table.items() if key not in nested}
        entry = self._table(Entry, rest, where, given=tuple(nested))
        if entry is None:
            return None
        entry = replace(entry, **{key: value for key, value in nested.items() if value is not None})
        self._relations(entry, where, table)
        return entry

    def _relations(self, entry: Entry, where: str, table: Mapping[str, Any]) -> None:
        if entry.kind not in KINDS and not _OWN.fullmatch(entry.kind):
            self._bad(f"{where}.kind", f"{entry.kind!r}: {nearest(entry.kind, KINDS)}, or file.py:Class for your own")
        if entry.kind == "tv":
            if entry.transport == "datagrams":
                self._bad(f"{where}.transport", "televisions stay on WebSocket (docs/TV.md)")
            for key in ("move", "acts"):
                if key in table:
                    self._bad(f"{where}.{key}", "a TV has no body")
        elif "channel" in table or "behind_s" in table:
            self._bad(f"{where}.channel", "only a TV watches a channel")
        if entry.trouble.loss and entry.transport != "datagrams":
            self._bad(
                f"{where}.trouble.loss", 'only datagrams can be lost: set transport = "datagrams", or use stall_s'
            )
        if entry.trouble.bytes_per_s and entry.transport == "datagrams":
            self._bad(f"{where}.trouble.bytes_per_s", "only a WebSocket client reads slowly; use loss")

    def _budgets(self, table: object, where: str) -> None:
        if not isinstance(table, dict):
            return  # its type is told by whoever reads the table around it
        for name in table:
            try:
                split_budget(name)
            except KeyError:
                self._bad(f"{where}.{name}", f"there is no such figure: {nearest(name, budget_names())}")

    def _list(self, of: type[T], value: object, where: str) -> tuple[T, ...]:
        if not isinstance(value, list):
            self._bad(where, f"must be a list of tables: write [[{where}]]")
            return ()
        found = (self._table(of, each, f"{where}[{index}]") for index, each in enumerate(value))
        return tuple(each for each in found if each is not None)

    def _table(self, of: type[T], value: object, where: str, given: tuple[str, ...] = ()) -> T | None:
        """A dataclass from a table; ``given`` names what is not asked for here. None if anything is wrong with it."""
        if not isinstance(value, dict):
            self._bad(where, "must be a table")
            return None
        before, dot = len(self.problems), f"{where}." if where else ""
        hints = get_type_hints(of, include_extras=True)
        parts: dict[str, Any] = {}
        for key in value:
            if key not in hints:
                self._bad(f"{dot}{key}", f"there is no such key: {nearest(key, (k for k in hints if k != 'path'))}")
        for each in fields(of):  # type: ignore[arg-type]
            if each.name in value:
                if each.name in given:
                    parts[each.name] = value[each.name]
                    continue
                try:
                    parts[each.name] = msgspec.convert(value[each.name], hints[each.name])
                except msgspec.ValidationError as problem:
                    self._bad(f"{dot}{each.name}", _said(problem, each.name, hints[each.name]))
            elif each.default is MISSING and each.default_factory is MISSING and each.name not in given:
                self._bad(f"{dot}{each.name}", "is missing")
        return of(**parts) if len(self.problems) == before else None


def _said(problem: msgspec.ValidationError, name: str, hint: Any) -> str:
    text = str(problem).replace("`$", f"`{name}")
    if get_origin(hint) is Literal:
        text += f"; it must be one of {', '.join(map(str, get_args(hint)))}"
    return text
