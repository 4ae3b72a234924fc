"""Seeing, acting and touching across a border, as inside a region: each test runs with one region and with two."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from shard.behaviours.api import Body, Script
from shard.behaviours.world import Rows, World
from shard.border.links import GROUP_MAX, Square
from tests.unit.shard.seam import TWO, Net, Seam

ONE: dict[int, Square] = {4: (-64.0, -64.0, 64.0, 64.0)}
BOTH = pytest.mark.parametrize("squares", [ONE, TWO], ids=["inside", "seam"])


def sentinels() -> Script:
    """A tower at x = -2 does things to a target at x = 2, once ``do`` is called."""
    script = Script("sentinels")
    mood = script.component("mood", "f4", default=0.5)
    script.kind("tower", [mood])
    script.kind("target", [mood], Body(radius_m=0.5, mass_kg=10))

    @script.start
    def begin(world: World) -> None:
        world.spawn("tower", pos=[-2.0, 0, 0])
        world.spawn("target", pos=[2.0, 0, 0], mood=0.75)

    return script


def acting(squares: dict[int, Square], do: Callable[[World, Rows], None], more: Script | None = None) -> Seam:
    """Ten ticks to settle, then ``do`` once, then ten ticks."""
    script = sentinels()

    @script.every("tower")
    def act(world: World, towers: Rows) -> None:
        if world.tick == 11:
            do(world, towers)

    seam = Seam(squares, lambda: [script] if more is None else [script, more])
    seam.run(25)
    assert seam.faults == []
    return seam


@BOTH
def test_queries_and_rays_see_across(squares: dict[int, Square]) -> None:
    seen: list[Any] = []

    def look(world: World, towers: Rows) -> None:
        query, ids = world.near(towers.pos[:, 0], towers.pos[:, 2], 5.0, kind="target")
        target = world.some("target", ids)
        east = -np.pi / 2
        hit, metres = world.ray([-2.0, -2.0, -2.0], [0.0, 0.0, 0.0], [east, -east, east], 10.0, "target")
        short, _ = world.ray(-2.0, 0.0, -np.pi / 2, 3.0)
        seen.append([query.tolist(), target.mood.tolist(), target.pos.tolist(), (hit == ids[0]).tolist()])
        seen.append([np.round(metres, 6).tolist(), short.tolist(), target.ghost.tolist()])

    acting(squares, look)
    assert seen[0] == [[0], [0.75], [[2.0, 0.0, 0.0]], [True, False, True]]
    assert seen[1] == [[3.5, np.inf, 3.5], [0], [len(squares) == 2]]


@BOTH
def test_messages_timers_and_despawn_reach_across(squares: dict[int, Square]) -> None:
    heard: list[Any] = []
    ears = Script("ears")

    @ears.message("hello", "target")
    def hello(world: World, targets: Rows, payloads: list[Any]) -> None:
        heard.append(("hello", world.tick, payloads))
        targets.mood[:] = 1.0

    @ears.timer("ring", "target")
    def ring(world: World, targets: Rows, values: "np.ndarray") -> None:
        heard.append(("ring", world.tick, values.tolist()))

    @ears.leave("target")
    def left(world: World, ids: "np.ndarray") -> None:
        heard.append(("left", len(ids)))

    def do(world: World, towers: Rows) -> None:
        _, ids = world.near(2.0, 0.0, 1.0, kind="target")
        world.send(ids, "hello", {"from": "tower"})
        world.after(0.15, "ring", ids, 5)
        world.tell("seen", entity=int(ids[0]))
        world.after(0.5, "end", towers.id)

    @ears.timer("end", "tower")
    def end(world: World, towers: Rows, values: "np.ndarray") -> None:
        _, ids = world.near(2.0, 0.0, 1.0, kind="target")
        world.despawn(ids)

    seam = acting(squares, do, ears)
    assert heard == [("hello", 12, [{"from": "tower"}]), ("ring", 14, [5]), ("left", 1)]
    assert [event[2] for event in seam.events] == ["seen"]
    assert sum(len(seam.own(region)) for region in squares) == 1


@BOTH
def test_a_push_moves_somebody_across(squares: dict[int, Square]) -> None:
    script = sentinels()

    @script.every("tower")
    def act(world: World, towers: Rows) -> None:
        if world.tick == 20:
            _, ids = world.near(2.0, 3.0, 1.0, kind="person")
            world.push(ids, [0.25, 0.0])

    seam = Seam(squares, lambda: [script])
    body = seam.join(7, max(squares), (2.0, 3.0))
    seam.run(30)
    assert seam.pos(body.entity)[0] == pytest.approx(2.25)


def head_on(squares: dict[int, Square], buttons: int, aside_m: float, net: Net | None = None) -> list["np.ndarray"]:
    """Two people meet at the seam; x of both, after every tick."""
    seam = Seam(squares, net=net, seed=3)
    left = seam.join(1, 4, (-4.0, 0.0))
    right = seam.join(2, max(squares), (4.0, aside_m))
    out = []

    def go() -> None:
        seam.walk(left, 127, 0, buttons)
        seam.walk(right, -127, 0, buttons)
        if seam.home(left.entity) and seam.home(right.entity):
            out.append(np.array([seam.pos(left.entity)[[0, 2]], seam.pos(right.entity)[[0, 2]]]))

    seam.run(120, go)
    return out


@BOTH
@pytest.mark.parametrize("buttons", [0, 1], ids=["walking", "running"])
def test_two_people_head_on_never_pass_through_each_other(squares: dict[int, Square], buttons: int) -> None:
    out = head_on(squares, buttons, 0.0)
    assert all(both[0, 0] < both[1, 0] for both in out), "they passed"
    gap = np.array([np.linalg.norm(both[0] - both[1]) for both in out])
    assert np.allclose(gap[-40:], 0.625, atol=0.02), "they stand before each other"
    assert gap.min() > 0.6


@pytest.mark.parametrize("seed", range(3))
def test_head_on_over_a_bad_network(seed: int) -> None:
    out = head_on(TWO, 0, 0.0, Net(lost=0.1, repeated=0.1, late=0.2))
    assert all(both[0, 0] < both[1, 0] for both in out)


def test_people_push_each_other_aside() -> None:
    """Not quite head-on, they slide past each other."""
    out = head_on(TWO, 0, 0.3)
    assert out[-1][0, 0] > out[-1][1, 0]
    assert min(np.linalg.norm(both[0] - both[1]) for both in out) > 0.3


def test_a_contact_across_the_seam_is_solved_as_inside() -> None:
    """Both regions solve the same contact from the same states, each keeps its own body's part."""
    script = Script("billiard")
    script.kind("ball", [], Body(radius_m=0.3, mass_kg=2.0, elasticity=0.5))
    script.kind("rock", [], Body(radius_m=0.3, mass_kg=20.0, elasticity=0.5))

    @script.start
    def begin(world: World) -> None:
        world.spawn("ball", pos=[-3.1, 0, 0], vel=[2.0, 0, 0])
        world.spawn("rock", pos=[0.6, 0, 0], vel=[-0.01, 0, 0])

    ends = []
    for squares in (ONE, TWO):
        seam = Seam(squares, lambda: [script])
        seam.run(60)
        ball, rock = sorted(seam.known)
        cores = [seam.row(entity) for entity in (ball, rock)]
        if len(squares) == 2:
            assert seam.home(rock) == 5
            assert seam.home(ball) == 4
        ends.append([core.state.table.vel[row, 0] for core, row in cores])
    assert ends[0][0] < 0 < ends[0][1]
    assert ends[1] == pytest.approx(ends[0], abs=0.02)


def test_a_pile_crosses_as_one_and_a_huge_one_thing_by_thing() -> None:
    for count in (9, GROUP_MAX + 8):
        script = Script("pile")
        script.kind("crate", [], Body(radius_m=0.25, mass_kg=5.0, square=True))

        @script.start
        def begin(world: World, count: int = count) -> None:
            side = int(np.ceil(np.sqrt(count)))
            k = np.arange(count)
            pos = np.stack([k // side * 0.498, np.zeros(count), k % side * 0.498], axis=1) - [6.0, 0, 2.0]
            world.spawn("crate", count, pos=pos)

        @script.every("crate")
        def drive(world: World, crates: Rows) -> None:
            crates.vel[:] = [2.0, 0, 0]

        seam = Seam(TWO, partial(list, [script]))
        crossed: list[int] = []

        def watch(seam: Seam = seam, crossed: list[int] = crossed) -> None:
            crossed.append(seam.total("entities come"))

        seam.run(160, watch)
        assert len(seam.own(5)) == count
        steps = np.diff(crossed)
        assert steps.max() >= 5 if count == 9 else steps.max() < GROUP_MAX
        assert seam.faults == []


def test_a_vehicle_takes_its_riders_and_what_they_hold_along() -> None:
    script = Script("tram")
    script.kind("tram", [], Body(radius_m=1.0, mass_kg=2000, square=True))
    script.kind("lamp")

    @script.start
    def begin(world: World) -> None:
        tram = world.spawn("tram", pos=[-6.0, 0, 0])
        lamp = world.spawn("lamp", pos=[-6.0, 1.0, 0.5])
        world.attach(lamp, int(tram[0]))

    @script.every("tram")
    def drive(world: World, trams: Rows) -> None:
        trams.vel[:] = [2.0, 0, 0]
        if world.tick == 4:
            _, who = world.near(-6.0, 0.0, 3.0, kind="person")
            world.attach(who, int(trams.id[0]))

    seam = Seam(TWO, lambda: [script])
    body = seam.join(7, 4, (-5.5, 0.25))
    seam.run(4)
    tram, lamp = sorted(seam.known - {body.entity})
    lamp, tram = (lamp, tram) if seam.pos(lamp)[1] == 1.0 else (tram, lamp)
    arm = seam.pos(body.entity) - seam.pos(tram)
    homes = set()

    def watch() -> None:
        seam.walk(body, 127)
        here = {seam.home(entity) for entity in (tram, lamp, body.entity)}
        assert len(here) == 1, "they are together"
        homes.update(here)
        if here != {0}:
            assert np.allclose(seam.pos(lamp) - seam.pos(tram), [0, 1.0, 0.5], atol=1e-6)
            assert np.allclose(seam.pos(body.entity) - seam.pos(tram), arm, atol=1e-6)

    seam.run(100, watch)
    assert homes >= {4, 5}
    assert seam.total("entities come") == 3
    assert body.seq - body.acknowledged <= 2
    assert seam.faults == []


def test_attachments_are_refused_with_a_reason_and_let_go() -> None:
    script = Script("hold")
    script.kind("thing", [], Body(radius_m=0.2))

    @script.start
    def begin(world: World) -> None:
        ids = world.spawn("thing", 3, pos=[[0, 0, -30.0], [1, 0, -30.0], [2, 0, -30.0]])
        world.attach(ids[1:2], int(ids[0]))
        world.attach(ids[2:], int(ids[1]))
        world.attach(ids[:1], int(ids[2]))
        world.attach([12345], int(ids[0]))

    @script.every("thing")
    def turn(world: World, things: Rows) -> None:
        if world.tick < 10:
            things.yaw[0] += np.pi / 20
        if world.tick == 12:
            world.detach(things.id[1:2])
        if world.tick == 13:
            things.vel[0] = [0, 0, 1.0]

    seam = Seam(ONE, lambda: [script])
    seam.run(11)
    assert len(seam.faults) == 2
    assert "circle" in seam.faults[0]
    assert "not in this region" in seam.faults[1]
    first, second, third = (seam.pos(entity) for entity in sorted(seam.known))
    assert np.allclose(np.hypot(*(second - first)[[0, 2]]), 1.0)
    assert np.allclose(np.hypot(*(third - first)[[0, 2]]), 2.0)
    assert np.isclose((second - first)[0], np.cos(np.pi / 20 * 9))
    held = second.copy()
    seam.run(20)
    first, second, third = (seam.pos(entity) for entity in sorted(seam.known))
    assert np.allclose(second, held), "it was let go"
    assert first[2] > -29.9


def test_ghosts_are_nobodys_rows() -> None:
    """They are not published, dumped, given to behaviours or counted; they end when their home is silent."""
    counted: dict[int, set[int]] = {4: set(), 5: set()}
    script = sentinels()

    @script.every("target")
    def count(world: World, targets: Rows) -> None:
        counted[world.options.get("region", 5)].add(len(targets))

    seam = Seam(TWO, lambda: [script])
    seam.run(10)
    for region, core in seam.cores.items():
        table = core.state.table
        assert len(table.ghosts()) == 1, region
        assert core.entities == 1
        assert core.snapshot_delta(1).enter_id.tolist() == list(seam.own(region))
    assert counted == {4: set(), 5: {1}}
    dump = seam.cores[4].dump()
    seam.cores[4].restore(dump)
    assert seam.cores[4].dump() == dump
    assert len(seam.cores[4].state.table.ghosts()) == 0
    seam.run(3)
    assert len(seam.cores[4].state.table.ghosts()) == 1
    seam.cut = {(5, 4)}
    seam.run(30)
    assert len(seam.cores[4].state.table.ghosts()) == 0
