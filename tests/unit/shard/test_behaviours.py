"""What world authors are given, and the worlds that come along as examples."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocol.link import Upward
from protocol.messages import unpack
from shard.behaviours.api import Body, DeclarationError, Script
from shard.behaviours.world import Rows, World
from shard.config import ShardConfig
from shard.region import RegionCore
from shard.world.checks import broken
from tests.unit.shard.worlds import attach, boxes, place

EXAMPLES = Path(__file__).parents[3] / "examples"
CONFIG = ShardConfig(bounds_half_m=64.0)


def example(name: str) -> Script:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / name / "behaviours.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    script: Script = module.script
    return script


def test_changed_components_travel_as_changed_keys_and_in_full() -> None:
    script = Script("s")
    mood = script.component("mood", "f4", replicate=True, scale=0.01)
    label = script.component("label", "U8", replicate=True)
    secret = script.component("secret", "i4")
    script.kind("duck", [mood, label, secret])

    @script.start
    def begin(world: World) -> None:
        world.spawn("duck", 3, label=["a", "b", "c"])

    @script.every("duck")
    def change(world: World, ducks: Rows) -> None:
        ducks.secret += 1
        if world.tick == 3:
            ducks.mood[1] = 0.25
            ducks.mood[2] = 0.004  # less than a step of the scale

    core = RegionCore(CONFIG, None, [script])
    first = core.step(1).delta
    key = core.state.registry.key
    assert [unpack(blob) for blob in _split(first.enter_blobs, first.enter_blob_bytes)] == [
        {key["mood"]: 0, key["label"]: text} for text in "abc"
    ]
    assert len(core.step(2).delta.state_row) == 0
    delta = core.step(3).delta
    assert delta.state_row.tolist() == [1]
    assert delta.state_version.tolist() == [2]
    changed, full = _split(delta.state_blobs, np.concatenate([delta.state_changed_bytes, delta.state_full_bytes]))
    assert unpack(changed) == {key["mood"]: 25}
    assert unpack(full) == {key["mood"]: 25, key["label"]: "b"}
    assert len(core.step(4).delta.state_row) == 0


def _split(data: bytes, sizes: "np.ndarray") -> list[bytes]:
    ends = np.cumsum(sizes).tolist()
    return [data[end - size : end] for end, size in zip(ends, sizes.tolist(), strict=True)]


def test_wrong_use_says_what_is_wrong() -> None:
    errors: list[str] = []
    script = Script("s")
    script.kind("duck", [])

    @script.start
    def begin(world: World) -> None:
        for call in (
            lambda: world.spawn("dog"),
            lambda: world.spawn("duck", colour=1),
            lambda: world.spawn("duck", 3, pos=np.zeros((2, 3))),
            lambda: world.spawn("person"),
            lambda: world.all("duck").colour,
            lambda: world.after(-1.0, "x", []),
        ):
            with pytest.raises((KeyError, AttributeError, ValueError)) as caught:
                call()
            errors.append(str(caught.value))

    core = RegionCore(CONFIG, None, [script])
    assert core.step(1).faults == []
    assert len(errors) == 6
    script.every("dog")(lambda world, dogs: None)
    with pytest.raises(DeclarationError, match="no kind 'dog'"):
        RegionCore(CONFIG, None, [script])


def test_near_finds_what_a_loop_finds() -> None:
    found: list[set[tuple[int, int]]] = []
    script = Script("s")
    script.kind("duck", [])
    random = np.random.default_rng(3)
    where = random.uniform(-40, 40, (200, 3))
    points = random.uniform(-45, 45, (20, 2))

    @script.start
    def begin(world: World) -> None:
        world.spawn("duck", len(where), pos=where)

    @script.every("duck")
    def look(world: World, ducks: Rows) -> None:
        query, ids = world.near(points[:, 0], points[:, 1], 9.0, kind="duck")
        found.append(set(zip(query.tolist(), ids.tolist(), strict=True)))

    core = RegionCore(CONFIG, None, [script])
    core.step(1)
    core.step(2)
    gap = np.hypot(points[:, :1] - where[:, 0], points[:, 1:] - where[:, 2])
    assert found[-1] == {(int(q), int(row) + 1) for q, row in zip(*np.nonzero(gap <= 9.0), strict=True)}


def test_enter_and_leave_are_told_once() -> None:
    told: list[tuple[str, int, int]] = []
    script = Script("s")

    @script.enter("person")
    def came(world: World, people: Rows) -> None:
        told.append(("came", world.tick, len(people)))

    @script.leave("person")
    def went(world: World, ids: "np.ndarray") -> None:
        told.append(("went", world.tick, len(ids)))

    core = RegionCore(CONFIG, None, [script])
    core.step(1, [attach(1, 5, 6)])
    message = attach(3)
    message.detach = [[5, 1, True, 0]]
    core.step(2)
    core.step(3, [message])
    core.step(4)
    assert told == [("came", 1, 2), ("went", 3, 1)]


def test_the_tutorial_world_runs() -> None:
    core = RegionCore(CONFIG, None, [example("hello_behaviour")], options={"inhabitants_count": 12})
    events = []
    for tick in range(1, 250):
        result = core.step(tick, [attach(tick, 1)] if tick == 5 else [])
        assert result.faults == []
        events += result.delta.events
    assert [event[2] for event in events] == ["hello", "quack", "quack"]
    assert events[0][0] == 1
    assert broken(core.state) == []


def test_a_duck_of_the_tutorial_world_can_be_petted_by_who_is_near() -> None:
    core = RegionCore(CONFIG, None, [example("hello_behaviour")], options={"inhabitants_count": 1})
    row = core.step(1, [attach(1, 1)]).delta.attached[0][3]
    table = core.state.table
    duck = int(table.rows(core.state.registry.kind_number["duck"])[0])

    def pet(number: int, away_m: float) -> list[Any]:
        table.pos[row] = table.pos[duck] + [away_m, 0.0, 0.0]
        core.step(core.tick + 1)  # where everybody is is known from the tick before
        tick = core.tick + 1
        message = Upward(1, 64 * tick, tick, acts=[[1, 1, number, "pet", None, 0, number]])
        ((_, told, code, value, _),) = core.step(tick, [message]).delta.answers
        assert told == number
        return [code, value]

    assert pet(1, 6.0) == [1, "no duck is near enough"]
    before = float(table.columns["c.mood"][duck])
    code, value = pet(2, 1.0)
    assert (code, value["petted"]) == (0, 1)
    assert float(table.columns["c.mood"][duck]) > before


def test_helsinkis_script_needs_streets_and_says_so() -> None:
    core = RegionCore(CONFIG, place(boxes()), [example("helsinki")])
    assert "world.place" in core.step(1).faults[0].text


def test_rays_find_what_a_loop_finds() -> None:
    found: list[tuple[list[int], list[float]]] = []
    script = Script("s")
    script.kind("duck", [], Body(radius_m=0.4))
    random = np.random.default_rng(3)
    where = random.uniform(-30, 30, (150, 3))
    at, yaw = random.uniform(-32, 32, (60, 2)), random.uniform(-7, 7, 60)

    @script.start
    def begin(world: World) -> None:
        world.spawn("duck", len(where), pos=where)

    @script.every("duck")
    def look(world: World, ducks: Rows) -> None:
        ids, metres = world.ray(at[:, 0], at[:, 1], yaw, 20.0)
        found.append((ids.tolist(), metres.tolist()))
        where[:] = ducks.pos

    core = RegionCore(CONFIG, None, [script])
    core.step(1)
    core.step(2)
    towards = np.stack([-np.sin(yaw), -np.cos(yaw)], axis=1)
    hits = 0
    for q in range(len(at)):
        gap = where[:, [0, 2]] - at[q]
        along = gap @ towards[q]
        side2 = (gap**2).sum(axis=1) - along**2
        meets = (along >= 0) & (side2 <= 0.16) & ((gap**2).sum(axis=1) > 0.16)
        reach = np.where(meets, along - np.sqrt(np.maximum(0.16 - side2, 0)), np.inf)
        reach[reach > 20] = np.inf
        best = int(np.argmin(reach))
        hits += bool(np.isfinite(reach[best]))
        assert found[-1][0][q] == (best + 1 if np.isfinite(reach[best]) else 0)
        assert found[-1][1][q] == pytest.approx(reach[best])
    assert 5 < hits < 60
