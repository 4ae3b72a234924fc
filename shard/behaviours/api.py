"""What a world author writes against: a :class:`Script` of declarations and behaviours, and the :class:`World` they are
given.

    script = Script("hello")
    mood = script.component("mood", "f4", unit="1", replicate=True, scale=0.01)
    duck = script.kind("duck", [mood], Body(radius_m=0.2))

    @script.start
    def populate(world):
        world.spawn("duck", 10, pos=...)

    @script.every("duck")
    def waddle(world, ducks):
        ducks.vel[:, 0] = world.random.normal(size=len(ducks))

Behaviours are vectorised: a function gets all rows of a kind at once, as NumPy columns. Invariants that make a world
repeatable and dumpable: all state is in components, timers and messages (a module variable is lost at a restart); time
is ``world.tick``;
randomness is ``world.random``. A behaviour that raises is switched off and reported; the world goes on. Not responsible
for: running them (``runner``).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from protocol.limits import ACT_NAME_BYTES_MAX
from shard.world.components import Body, Component, DeclarationError, Kind, Value

if TYPE_CHECKING:
    pass

__all__ = ["Behaviour", "Body", "Component", "DeclarationError", "Kind", "Refused", "Script"]

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)

START = "start"
EVERY = "every"
ENTER = "enter"
LEAVE = "leave"
MESSAGE = "message"
TIMER = "timer"
ACTION = "action"


LOOK_BACK_MAX_S = 1.0
"""Who sees the world later than that is not playing with others any more."""


class Refused(Exception):
    """Raised by an action: the person is told ``why``, and nothing of this call has happened."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Elsewhere(Exception):
    """Raised by an action that has to change a ``thing`` which another region simulates (``rows.ghost``). Nothing of
    this call has happened, and the action is carried out there: the person's body goes over to that region, without
    being moved, and comes back by itself a second later. If that is not possible in time, the person is told ``why``.
    """

    def __init__(self, thing: int, why: str) -> None:
        super().__init__(why)
        self.thing = thing
        self.why = why


class Behaviour:
    """One function of a script: ``trigger`` and what it is for (``kind`` or ``topic``), every ``ticks`` ticks."""

    __slots__ = ("enabled", "function", "kind", "name", "ticks", "topic", "trigger")

    def __init__(
        self, name: str, trigger: str, function: Function, kind: str = "", topic: str = "", ticks: int = 1
    ) -> None:
        self.name = name
        self.trigger = trigger
        self.function = function
        self.kind = kind
        self.topic = topic
        self.ticks = ticks
        self.enabled = True


class Script:
    """Declarations and behaviours of one world, or of a part of one; several are run in the order they are given.

    ``name`` is part of each behaviour's name, and with it of its randomness. All methods raise DeclarationError.
    """

    def __init__(self, name: str) -> None:
        if not name.isidentifier():
            raise DeclarationError(f"script name {name!r} must be a Python identifier")
        self.name = name
        self.kinds: list[Kind] = []
        self.extra: list[tuple[str, Component]] = []
        self.behaviours: list[Behaviour] = []
        self.look_back_s = 0.0

    def look_back(self, seconds: float = 1.0) -> None:
        """Keep where everybody was for so long (at most 1 s), for ``World.seen_by`` and ``World.pointed_at``."""
        if not 0 < seconds <= LOOK_BACK_MAX_S:
            raise DeclarationError(f"look_back: above 0 and at most {LOOK_BACK_MAX_S:g} s, got {seconds}")
        self.look_back_s = seconds

    def component(
        self,
        name: str,
        dtype: str,
        *,
        unit: str = "",
        replicate: bool = False,
        persist: bool = True,
        scale: float | None = None,
        default: Value | None = None,
    ) -> Component:
        """Declare a component (see :class:`Component`); the default is 0 or the empty text."""
        if default is None:
            default = "" if dtype.startswith("U") else 0
        return Component(name, dtype, unit, replicate, persist, scale, default)

    def kind(self, name: str, components: Sequence[Component] = (), body: Body | None = None) -> Kind:
        """Declare a kind of entity. With a ``body`` physics moves it; without, its behaviours alone do (by pos)."""
        kind = Kind(name, tuple(components), body)
        self.kinds.append(kind)
        return kind

    def extend(self, kind: str, components: Iterable[Component]) -> None:
        """Give a kind that exists (such as "person") more components."""
        self.extra.extend((kind, component) for component in components)

    def start(self, function: F) -> F:
        """``function(world)`` runs once, in the first tick of a new world."""
        return self._add(function, START)

    def every(self, kind: str, ticks: int = 1) -> Callable[[F], F]:
        """``function(world, rows)`` runs in each ``ticks``-th tick if there are rows of the kind."""
        if ticks < 1:
            raise DeclarationError(f"every({kind!r}): ticks must be at least 1, got {ticks}")
        return lambda function: self._add(function, EVERY, kind=kind, ticks=ticks)

    def enter(self, kind: str) -> Callable[[F], F]:
        """``function(world, rows)`` runs with those that entered since the tick before."""
        return lambda function: self._add(function, ENTER, kind=kind)

    def leave(self, kind: str) -> Callable[[F], F]:
        """``function(world, ids)`` runs with the ids (uint64) of those that left since the tick before."""
        return lambda function: self._add(function, LEAVE, kind=kind)

    def message(self, topic: str, kind: str) -> Callable[[F], F]:
        """``function(world, rows, payloads)`` runs with the receivers of messages sent in the tick before; row k got
        ``payloads[k]`` (a receiver of several messages is there several times)."""
        return lambda function: self._add(function, MESSAGE, kind=kind, topic=topic)

    def timer(self, topic: str, kind: str) -> Callable[[F], F]:
        """``function(world, rows, values)`` runs with the entities whose timers are due; values is int64."""
        return lambda function: self._add(function, TIMER, kind=kind, topic=topic)

    def action(self, name: str, kind: str = "person") -> Callable[[F], F]:
        """``function(world, rows, payloads)`` runs when a client asks for the action ``name``, with the body of that
        session: a call for each act, so ``rows`` and ``payloads`` have length 1. It may return a list of one value for
        the client (what msgpack can carry, keys of maps are texts), or raise :class:`Refused`: then nothing of the call
        has happened. Check the payload: whoever wrote the client may have put anything in it."""
        if not 1 <= len(name.encode()) <= ACT_NAME_BYTES_MAX:
            raise DeclarationError(f"action {name!r}: a name has 1 to {ACT_NAME_BYTES_MAX} bytes")
        return lambda function: self._add(function, ACTION, kind=kind, topic=name)

    def _add(self, function: F, trigger: str, kind: str = "", topic: str = "", ticks: int = 1) -> F:
        name = f"{self.name}.{function.__name__}"
        if any(behaviour.name == name for behaviour in self.behaviours):
            raise DeclarationError(f"two behaviours are called {name}; names must differ, randomness depends on them")
        self.behaviours.append(Behaviour(name, trigger, function, kind, topic, ticks))
        return function


def __getattr__(name: str) -> Any:
    """``World`` and ``Rows`` for annotations of authors, without loading kernels when only declarations are needed."""
    if name in ("Rows", "World"):
        from shard.behaviours import world

        return getattr(world, name)
    raise AttributeError(name)
