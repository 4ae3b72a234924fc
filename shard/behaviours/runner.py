"""Runs behaviours: which one, when, with what; and carries out what they asked for.

Order in a tick: start (once), leave, enter, timers, messages, actions, every; within each by the order of scripts and
declarations. Invariants: a behaviour that raises is switched off, what it asked for in that call is dropped, and a
:class:`Fault` says so; the world goes on. Not responsible for: authors' interface (``api``, ``world``).
"""

import traceback
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.acting import AnswerCode
from shard.behaviours import api
from shard.behaviours.answers import WHY_CHARS_MAX, answer_value
from shard.behaviours.api import Behaviour, Elsewhere, Refused, Script
from shard.behaviours.timers import Timers, topic_number
from shard.behaviours.world import Asked, World
from shard.world.components import DeclarationError, Registry
from shard.world.table import Table

U64 = npt.NDArray[np.uint64]
Apply = Callable[[Asked, set[str]], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong with a behaviour: its name (or what it asked for), the error in one line (``text``), and the
    traceback for the log; with a traceback, the behaviour was switched off."""

    behaviour: str
    text: str
    trace: str


@dataclass(slots=True)
class Pending:
    """What behaviours will be told of in the next tick; part of the world's state."""

    started: bool = False
    enter: list[int] = field(default_factory=list)
    """Ids."""
    leave: list[tuple[int, list[int]]] = field(default_factory=list)
    """(kind, ids)."""
    messages: list[tuple[str, list[int], Any]] = field(default_factory=list)
    """(topic, ids, payload)."""


class Runner:
    """The behaviours of all scripts, in order."""

    def __init__(self, scripts: Sequence[Script], registry: Registry, table: Table, world: World) -> None:
        # Copies: one that fails here is switched off here, not in every region that runs the same scripts.
        self.behaviours = [copy(behaviour) for script in scripts for behaviour in script.behaviours]
        self.timers = Timers()
        self.pending = Pending()
        self.faults: list[Fault] = []
        self._table = table
        self._registry = registry
        self.world = world
        self._actions: dict[tuple[str, int], Behaviour] = {}
        """By name of the action and number of the kind."""
        self._check()

    def _check(self) -> None:
        names = [behaviour.name for behaviour in self.behaviours]
        if len(set(names)) != len(names):
            raise DeclarationError("two scripts have the same name, and with it behaviours of the same name")
        topics: dict[int, str] = {}
        for behaviour in self._of(api.ACTION):
            kind = self._registry.kind_number.get(behaviour.kind, 0)
            other = self._actions.setdefault((behaviour.topic, kind), behaviour)
            if other is not behaviour:
                raise DeclarationError(f"{other.name} and {behaviour.name} are both the action {behaviour.topic!r}")
        for behaviour in self.behaviours:
            if behaviour.kind and behaviour.kind not in self._registry.kind_number:
                raise DeclarationError(f"{behaviour.name}: there is no kind {behaviour.kind!r}")
            if behaviour.trigger == api.TIMER:
                number = topic_number(behaviour.topic)
                if topics.setdefault(number, behaviour.topic) != behaviour.topic:
                    raise DeclarationError(f"timer topics {topics[number]!r} and {behaviour.topic!r} clash: rename one")

    def run(self, apply: Apply, actions: Callable[[], None]) -> None:
        """All behaviours of this tick. ``apply`` carries out what each one asked for, at once after it returned;
        ``actions`` calls :meth:`act` for what clients asked for."""
        pending, self.pending = self.pending, Pending(started=True)
        world = self.world
        number = self._registry.kind_number
        if not pending.started:
            for behaviour in self._of(api.START):
                self._call(behaviour, apply)
        for behaviour in self._of(api.LEAVE) if pending.leave else ():
            gone = [id_ for kind, ids in pending.leave for id_ in ids if kind == number[behaviour.kind]]
            if gone:
                self._call(behaviour, apply, np.array(gone, np.uint64))
        for behaviour in self._of(api.ENTER) if pending.enter else ():
            self._call_rows(behaviour, apply, np.array(pending.enter, np.uint64), None)
        due = self.timers.take_due(world.tick)
        for behaviour in self._of(api.TIMER) if len(due) else ():
            mine = due[due["topic"] == topic_number(behaviour.topic)]
            self._call_rows(behaviour, apply, mine["id"], mine["value"])
        for behaviour in self._of(api.MESSAGE) if pending.messages else ():
            ids = [i for topic, to, _ in pending.messages if topic == behaviour.topic for i in to]
            payloads = [payload for topic, to, payload in pending.messages if topic == behaviour.topic for _ in to]
            self._call_rows(behaviour, apply, np.array(ids, np.uint64), payloads)
        actions()
        for behaviour in self._of(api.EVERY):
            rows = self._table.rows(number[behaviour.kind])
            if len(rows) and world.tick // behaviour.ticks != world.last_tick // behaviour.ticks:
                self._call(behaviour, apply, rows)

    def act(
        self, row: int, name: str, payload: Any, number: int, apply: Apply, seen: tuple[int, int] | None = None
    ) -> tuple[AnswerCode, Any] | Elsewhere:
        """The action ``name`` for the body in ``row``, as its session's act ``number``: what the client is answered, or
        where it is to be carried out instead. Unless that is DONE, nothing has happened. ``seen``: oldest and newest
        tick that the client can have shown then."""
        world, table = self.world, self._table
        kind = int(table.kind[row])
        behaviour = self._actions.get((name, kind))
        if behaviour is None:
            return AnswerCode.UNKNOWN, f"there is no action {name!r} here"
        if not behaviour.enabled:
            return AnswerCode.FAILED, f"the action {name!r} has a mistake and is switched off"
        # Randomness of each act is its own: two people who throw dice in one tick do not throw the same.
        actor = int(table.id[row])
        world.begin(f"{behaviour.name} {actor} {number}", undoable=True, seen=None if seen is None else (actor, *seen))
        try:
            returned = behaviour.function(world, world.open(kind, np.array([row], np.int64)), [payload])
            value = answer_value(returned)
            asked, touched = world.end()
        except Refused as refusal:
            world.undo()
            return AnswerCode.REFUSED, refusal.why[:WHY_CHARS_MAX]
        except Elsewhere as there:
            world.undo()
            return there
        except Exception as error:  # as for other behaviours: it must not stop the world
            world.undo()
            self._switch_off(behaviour, error)
            return AnswerCode.FAILED, f"the action {name!r} failed"
        apply(asked, touched)
        return AnswerCode.DONE, value

    def complain(self, what: str, error: Exception) -> None:
        """Report something that a behaviour asked for and that could not be done; it stays on."""
        self.faults.append(Fault(what, f"{type(error).__name__}: {error}", ""))

    def _of(self, trigger: str) -> list[Behaviour]:
        return [behaviour for behaviour in self.behaviours if behaviour.enabled and behaviour.trigger == trigger]

    def _call_rows(self, behaviour: Behaviour, apply: Apply, ids: U64, values: Any) -> None:
        """Call with those of ``ids`` that live and are of the behaviour's kind, and their values, if there are any."""
        table = self._table
        rows = np.array([table.row(id_) for id_ in ids.tolist()], np.int64)
        keep = rows >= 0
        keep[keep] = ~table.ghost[rows[keep]] & (table.kind[rows[keep]] == self._registry.kind_number[behaviour.kind])
        if not keep.any():
            return
        if values is None:
            self._call(behaviour, apply, rows[keep])
        elif isinstance(values, list):
            self._call(behaviour, apply, rows[keep], [value for value, kept in zip(values, keep, strict=True) if kept])
        else:
            self._call(behaviour, apply, rows[keep], values[keep])

    def _call(self, behaviour: Behaviour, apply: Apply, *arguments: Any) -> None:
        """Call one behaviour; int64 rows become :class:`Rows` of its kind."""
        world = self.world
        world.begin(behaviour.name)
        given = [
            world.open(self._registry.kind_number[behaviour.kind], a) if i == 0 and _is_rows(a) else a
            for i, a in enumerate(arguments)
        ]
        try:
            behaviour.function(world, *given)
            asked, touched = world.end()
        except Exception as error:  # a world author's code may raise anything; it must not stop the world
            self._switch_off(behaviour, error)
            return
        apply(asked, touched)

    def _switch_off(self, behaviour: Behaviour, error: Exception) -> None:
        """In the handler of an error that a behaviour raised."""
        behaviour.enabled = False
        self.faults.append(Fault(behaviour.name, f"{type(error).__name__}: {error}", traceback.format_exc()))


def _is_rows(argument: Any) -> bool:
    return isinstance(argument, np.ndarray) and argument.dtype == np.int64
