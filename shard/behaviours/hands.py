"""Things that people take, carry, throw, press, and sit and ride on: actions of clients, decided by the world.

    hands = Hands(script)
    hands.grabbable("cup")
    hands.seat("cart", height_m=0.5)

    @hands.pressable("bell")
    def ring(world, bells, people):
        world.tell("ring", entity=int(bells.id[0]))

Clients ask by acts (STANDARD.md §8), so each is done once and answered, over borders and lost connections:
``grab {thing, hand}``, ``release {hand}``, ``press {thing, hand}``, ``sit {thing}``, ``stand``. Invariants: a thing is
in one hand and a hand holds one thing; of two who grab one thing the first one heard has it, and the other is answered
so; who holds something keeps it while away and over borders, and lets go by leaving the world. Not responsible for:
where hands are (``world.hands``), following them (``shard.world.hands``).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from shard.behaviours.api import Body, Component, DeclarationError, Elsewhere, F, Kind, Refused, Script
from shard.world.components import HELD_BY, HELD_HAND

if TYPE_CHECKING:
    from shard.behaviours.world import Rows, World

GRAVITY = 9.81
THROW_MAX_M_PER_S = 12.0
LATE_M = 0.25
"""A hand is some 100 ms ahead of what the world knows of it, and things move."""
ARM_M = 1.5
"""How far from the chest those reach whose hands nobody tracks."""
CHEST_M = 1.2
HANDS = {"left": 1, "right": 2}
TAKEN_BY = Component("taken_by", "u8", replicate=True)
FLYING = Component("flying", "?")


class Hands:
    """Gives a script what hands do. ``reach_m``: how far from a tracked hand a thing may be that it takes or
    presses."""

    def __init__(self, script: Script, reach_m: float = 0.35) -> None:
        if not 0 < reach_m <= 2:
            raise DeclarationError(f"hands: reach_m is above 0 and at most 2, got {reach_m}")
        self._script = script
        self._reach_m = reach_m + LATE_M
        self._things: list[str] = []
        self._seats: dict[str, float] = {}
        self._buttons: dict[str, Callable[..., Any]] = {}
        for action in (self.grab, self.release, self.press, self.sit, self.stand):
            script.action(action.__name__)(action)

    # -------------------------------------------------------------------------------------------------- declarations
    def grabbable(self, kind: str, components: Sequence[Component] = ()) -> Kind:
        """Declare a kind of things that can be taken, carried and thrown. It has no body: in a hand, in the air and on
        the ground it is moved by this. Raises DeclarationError."""
        made = self._script.kind(kind, [*components, HELD_BY, HELD_HAND, FLYING])
        self._things.append(kind)
        self._script.message("grab", kind)(_named(self._asked_for, f"grab_{kind}"))
        self._script.every(kind)(_named(partial(self._keep, kind), f"keep_{kind}"))
        return made

    def seat(
        self, kind: str, components: Sequence[Component] = (), body: Body | None = None, height_m: float = 0.45
    ) -> Kind:
        """Declare a kind that one person can sit on, ``height_m`` above its place; one that moves takes its rider
        along. Raises DeclarationError."""
        made = self._script.kind(kind, [*components, TAKEN_BY], body)
        self._seats[kind] = height_m
        self._script.every(kind, ticks=10)(_named(self._free_seats, f"seats_{kind}"))
        return made

    def pressable(self, kind: str) -> Callable[[F], F]:
        """``function(world, things, people)`` runs when a hand presses a thing of a kind, with one of each; like an
        action it may return a list of one value, or raise Refused."""

        def declare(function: F) -> F:
            if kind in self._buttons:
                raise DeclarationError(f"hands: {kind!r} is pressable already")
            self._buttons[kind] = function
            return function

        return declare

    # ------------------------------------------------------------------------------------------------------- actions
    def grab(self, world: "World", rows: "Rows", payloads: list[Any]) -> list[Any]:
        """``{thing, hand}``: take it. Answers ``{thing, held}``; ``held`` None: it is across a border, and an event
        ``grab {thing, held}`` will tell."""
        thing, hand = _thing(payloads[0]), _hand(payloads[0])
        who = int(rows.id[0])
        if len(self._in_hand(world, who, hand)[0]):
            raise Refused("that hand holds something")
        found = _one_of(world, self._things, thing)
        if found is None:
            raise Refused("there is no such thing to take")
        things = found[1]
        if things.held_by[0] == who:
            things.held_hand[:] = hand  # from one hand into the other
            return [{"thing": thing, "held": True}]
        if things.held_by[0] != 0:
            raise Refused("somebody has it")
        where = self._within_reach(world, rows, things, hand)
        if things.ghost[0]:
            world.send([thing], "grab", [who, hand])
            return [{"thing": thing, "held": None}]
        if not world.is_settled([thing, who]).all():
            raise Refused("it is on its way over a border, try again")
        _take(things, 0, who, hand)
        things.pos[0] = where
        world.attach([thing], who)
        return [{"thing": thing, "held": True}]

    def release(self, world: "World", rows: "Rows", payloads: list[Any]) -> list[Any]:
        """``{hand}``: let go of what it holds, with the speed of the hand. Answers ``{thing, vel}``."""
        ids, kind = self._in_hand(world, int(rows.id[0]), _hand(payloads[0]))
        if not len(ids):
            raise Refused("that hand is empty")
        things = world.some(kind, ids)
        things.held_by[:], things.held_hand[:], things.flying[:] = 0, 0, True
        speed = float(np.linalg.norm(things.vel[0]))
        things.vel *= min(1.0, THROW_MAX_M_PER_S / max(speed, 1e-9))
        world.detach(ids)
        return [{"thing": int(ids[0]), "vel": things.vel[0].tolist()}]

    def press(self, world: "World", rows: "Rows", payloads: list[Any]) -> Any:
        """``{thing, hand}``: press it. Answers what the author's function returns."""
        found = _one_of(world, list(self._buttons), _thing(payloads[0]))
        if found is None:
            raise Refused("there is no such thing to press")
        kind, things = found
        self._within_reach(world, rows, things, _hand(payloads[0]))
        if things.ghost[0]:
            raise Elsewhere(int(things.id[0]), "it is across a border: step nearer")
        return self._buttons[kind](world, things, rows)

    def sit(self, world: "World", rows: "Rows", payloads: list[Any]) -> list[Any]:
        """``{thing}``: sit down on it. Answers ``{thing}``."""
        seat, who = _thing(payloads[0]), int(rows.id[0])
        found = _one_of(world, list(self._seats), seat)
        if found is None:
            raise Refused("there is no such thing to sit on")
        kind, seats = found
        if seats.taken_by[0] not in (0, who):
            raise Refused("somebody sits there")
        if np.linalg.norm(seats.pos[0] - rows.pos[0]) > ARM_M + 0.5:
            raise Refused("it is too far away")
        if seats.ghost[0]:
            raise Elsewhere(seat, "it is across a border: step nearer")
        if not world.is_settled([seat, who]).all():
            raise Refused("it is on its way over a border, try again")
        self._leave_seats(world, who, but=seat)
        seats.taken_by[:] = who
        world.move([who], seats.pos[0] + [0.0, self._seats[kind], 0.0])
        world.attach([who], seat)
        return [{"thing": seat}]

    def stand(self, world: "World", rows: "Rows", payloads: list[Any]) -> None:
        """Stand up."""
        who = int(rows.id[0])
        if not self._leave_seats(world, who):
            raise Refused("you do not sit")
        world.move([who], rows.pos[0] * [1.0, 0.0, 1.0])
        world.detach([who])

    # ----------------------------------------------------------------------------------------------------- behaviours
    def _asked_for(self, world: "World", things: "Rows", payloads: list[Any]) -> None:
        """Somebody across a border grabs: the first one has it, and each is told."""
        for k, (who, hand) in enumerate(payloads):
            is_free = things.held_by[k] in (0, who)
            if is_free:
                same = things.id == things.id[k]  # it may be there once for each who asks
                for other in np.flatnonzero(same).tolist():
                    _take(things, other, who, hand)
            world.tell("grab", {"thing": int(things.id[k]), "held": bool(is_free)}, entity=who)

    def _keep(self, kind: str, world: "World", things: "Rows") -> None:
        """What is held gets to its holder, and is free when that one is gone; what was let go falls."""
        held = np.flatnonzero(things.held_by != 0)
        if len(held):
            self._bring(kind, world, things, held)
        flying = np.flatnonzero(things.flying)
        if not len(flying):
            return
        vel, pos = things.vel[flying], things.pos[flying]
        vel[:, 1] -= GRAVITY * world.dt_s
        ahead = pos + vel * world.dt_s
        vel[~world.fits(ahead[:, 0], ahead[:, 2])] *= [0.0, 1.0, 0.0]  # a wall
        landed = (ahead[:, 1] <= 0.0) & (vel[:, 1] < 0.0)
        vel[landed] = 0.0
        pos[landed, 1] = 0.0
        things.vel[flying], things.pos[flying] = vel, pos
        things.flying[flying[landed]] = False

    def _bring(self, kind: str, world: "World", things: "Rows", held: Any) -> None:
        on = world.parents(things.id[held])
        loose = held[on != things.held_by[held]]
        if not len(loose):
            return
        holders = things.held_by[loose]
        people = world.some("person", holders.tolist())
        order = np.argsort(people.id)
        at = np.searchsorted(people.id[order], holders) if len(people) else np.zeros(len(holders), np.int64)
        at = order[np.minimum(at, len(people) - 1)] if len(people) else at
        known = people.id[at] == holders if len(people) else np.zeros(len(holders), bool)
        free = loose[~known]
        things.held_by[free], things.held_hand[free], things.flying[free] = 0, 0, True
        loose, at = loose[known], at[known]
        # Across a border, it crosses; here, it is taken in hand.
        world.bring(things.id[loose], people.id[at], [0.0, CHEST_M, 0.0])
        here = ~people.ghost[at] & world.is_settled(things.id[loose]) & world.is_settled(people.id[at])
        arrived: set[tuple[int, int]] = set()
        for k in loose[here].tolist():  # a grab over a border, or what a crash undid: rare
            hand = int(things.held_by[k]), int(things.held_hand[k])
            if hand not in arrived:  # another one for the same hand waits for the next tick
                arrived.add(hand)
                self._take_in(kind, world, things, k)

    def _take_in(self, kind: str, world: "World", things: "Rows", k: int) -> None:
        """A thing has come to its holder: into the hand, unless that has taken something else meanwhile."""
        thing, who, hand = int(things.id[k]), int(things.held_by[k]), int(things.held_hand[k])
        ids = [things.id[(things.held_by == who) & (things.held_hand == hand)]]
        for other in self._things:
            if other != kind:
                others, held_by, held_hand = world.read(other, "held_by", "held_hand")
                ids.append(others[(held_by == who) & (held_hand == hand)])
        if any((world.parents(some) == who).any() for some in ids):
            things.held_by[k], things.held_hand[k], things.flying[k] = 0, 0, True
            world.tell("grab", {"thing": thing, "held": False}, entity=who)
        else:
            world.attach([thing], who)

    def _free_seats(self, world: "World", seats: "Rows") -> None:
        """A seat whose sitter has left the world is free."""
        taken = np.flatnonzero(seats.taken_by != 0)
        if len(taken):
            there = world.parents(seats.taken_by[taken]) == seats.id[taken]
            seats.taken_by[taken[~there]] = 0

    # -------------------------------------------------------------------------------------------------------- answers
    def _in_hand(self, world: "World", who: int, hand: int) -> tuple[Any, str]:
        """What somebody holds in a hand: ids (none or one) and kind."""
        for kind in self._things:
            ids, held_by, held_hand = world.read(kind, "held_by", "held_hand")
            mine = (held_by == who) & (held_hand == hand)
            if mine.any():
                return ids[mine][:1], kind
        return np.zeros(0, np.uint64), ""

    def _within_reach(self, world: "World", rows: "Rows", things: "Rows", hand: int) -> Any:
        """Where the hand is that reaches for a thing. Raises Refused."""
        places, tracked = world.hands(rows.id)
        if tracked[0, hand]:
            where, most_m = places[0, hand], self._reach_m
        else:
            sin, cos = np.sin(rows.yaw[0]), np.cos(rows.yaw[0])
            where, most_m = rows.pos[0] + [-0.4 * sin, CHEST_M, -0.4 * cos], ARM_M
        if np.linalg.norm(things.pos[0] - where) > most_m:
            raise Refused("it is out of reach")
        return where

    def _leave_seats(self, world: "World", who: int, but: int = 0) -> bool:
        """Nobody's seat but ``but`` is taken by ``who`` any more; whether one was."""
        left = False
        for kind in self._seats:
            ids, taken_by = world.read(kind, "taken_by")
            mine = ids[(taken_by == who) & (ids != but)]
            world.some(kind, mine).taken_by[:] = 0
            left |= len(mine) > 0
        return left


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def called(*arguments: Any) -> Any:
        return function(*arguments)

    called.__name__ = name
    return called


def _one_of(world: "World", kinds: list[str], thing: int) -> "tuple[str, Rows] | None":
    for kind in kinds:
        found = world.some(kind, [thing])
        if len(found):
            return kind, found
    return None


def _take(things: "Rows", k: int, who: int, hand: int) -> None:
    things.held_by[k], things.held_hand[k], things.flying[k] = who, hand, False


def _thing(payload: Any) -> int:
    thing = payload.get("thing") if isinstance(payload, dict) else None
    if type(thing) is not int or not 0 < thing < 1 << 64:
        raise Refused("the payload is a map with thing (an id)")
    return thing


def _hand(payload: Any) -> int:
    hand = HANDS.get(payload.get("hand", "right")) if isinstance(payload, dict) else None
    if hand is None:
        raise Refused('the payload is a map with hand ("left" or "right")')
    return hand
