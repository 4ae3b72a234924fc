"""Plain twins of the gateway's kernels: what they are meant to decide, one entity at a time, without care for speed."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernels.interest import REACH, RINGS
from protocol.layouts import VELOCITY_PER_GRID

NONE, DELTA, FULL = "none", "delta", "full"


def shown(p: Any, v: Any, dt: int) -> Any:
    """Grid position of a record after ``dt`` ticks, rounded as delta records are."""
    return p + ((v * dt + VELOCITY_PER_GRID // 2) >> 4)


def renew(
    pos: Any, vel: Any, wire_yaw: int, hz: float, tick: int, tolerance_m: float, yaw_tolerance: int, held: Any
) -> bool:
    """Whether the published state ``held`` (tick, p, v, yaw; or None) must be renewed at ``tick``."""
    if held is None:
        return True
    record_tick, p, v, yaw = held
    at = (VELOCITY_PER_GRID * p.astype(np.int64) + v.astype(np.int64) * (tick - record_tick)) / 2048
    turned = min((wire_yaw - yaw) % 256, (yaw - wire_yaw) % 256)
    old = tick - record_tick >= round(2 * hz) and bool(np.any(v != 0))
    return bool(((at - pos) ** 2).sum() > tolerance_m**2) or turned > yaw_tolerance or old


@dataclass
class Entity:
    """One mirrored entity: both levels' records and versions, its ground position now, its components' version."""

    serial: int
    x: int
    z: int
    version: int
    prev: int
    tick: int
    delta_fits: bool
    far_version: int
    far_prev: int
    far_tick: int
    far_delta_fits: bool
    state_version: int
    place: tuple[int, int, int]
    far_place: tuple[int, int, int]


@dataclass
class Known:
    """What a view holds of one entity."""

    row: int
    held: int
    far: bool
    state_held: int


@dataclass
class Told:
    """What a view is told in one frame, by serial."""

    leaves: set[int] = field(default_factory=set)
    enters: set[int] = field(default_factory=set)
    states: set[int] = field(default_factory=set)
    updates: dict[int, str] = field(default_factory=dict)


@dataclass
class NaiveView:
    """One view without a byte budget; radii in grid units."""

    radius: int
    leave_radius: int
    near_radius: int
    near_leave_radius: int
    cap: int
    known: dict[int, Known] = field(default_factory=dict)

    def crowded_radius2(self, distances2: list[int]) -> int:
        """The greatest of RINGS equal-area rings that holds at most ``cap`` of those within the radius."""
        radius2 = self.radius**2
        inside = [d for d in distances2 if d <= radius2]
        if len(inside) <= self.cap:
            return radius2
        best = -1
        for ring in range(RINGS):
            within = [d for d in inside if min(d * RINGS // (radius2 + 1), RINGS - 1) < ring]
            if len(within) <= self.cap:
                best = (radius2 + 1) * ring // RINGS - 1
        return best

    def step(self, centre: tuple[int, int, int], body: int, entities: dict[int, Entity], tick: int) -> Told:
        """``entities`` by row; ``body`` is the serial of the own body (0: none)."""
        x, _, z = centre
        told = Told()

        def distance2(e: Entity) -> int:
            return (e.x - x) ** 2 + (e.z - z) ** 2

        def reach(place: tuple[int, int, int]) -> bool:
            return all(abs(a - b) <= REACH for a, b in zip(place, centre, strict=True))

        everything = [distance2(e) for e in entities.values()]
        enter2 = self.crowded_radius2(everything)
        leave2 = self.leave_radius**2
        if sum(d <= self.radius**2 for d in everything) > self.cap:
            leave2 = enter2 * self.leave_radius // self.radius * self.leave_radius // self.radius
        for serial, known in list(self.known.items()):
            e = entities.get(known.row)
            if e is None or e.serial != serial or distance2(e) > leave2 or serial == body:
                told.leaves.add(serial)
                del self.known[serial]
                continue
            if known.state_held != e.state_version:
                told.states.add(serial)
                known.state_held = e.state_version
            far = known.far
            if distance2(e) <= self.near_radius**2:
                far = False
            elif not far and distance2(e) > self.near_leave_radius**2 and e.far_version == e.version:
                far = True
            target = e.far_version if far else e.version
            if known.held != target:
                near_delta = target == e.version and e.delta_fits and e.tick == tick and known.held == e.prev
                far_delta = (
                    target == e.far_version and e.far_delta_fits and e.far_tick == tick and known.held == e.far_prev
                )
                if not (near_delta or far_delta) and not reach(e.far_place if far else e.place):
                    told.leaves.add(serial)
                    del self.known[serial]
                    continue
                told.updates[serial] = DELTA if near_delta or far_delta else FULL
            known.held, known.far = target, far
        for near in (True, False):
            for row, e in entities.items():
                d = distance2(e)
                if e.serial in self.known or e.serial in told.leaves or e.serial == body or d > enter2:
                    continue
                far = d > self.near_radius**2
                if far == near or not reach(e.far_place if far else e.place) or len(self.known) >= self.cap:
                    continue
                told.enters.add(e.serial)
                self.known[e.serial] = Known(row, e.far_version if far else e.version, far, e.state_version)
        return told
