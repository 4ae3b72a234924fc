"""A region is written down and comes back: as it was at one tick, whenever its process ends."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cluster.regions import Layout as Regions
from protocol.link import Upward
from shard.behaviours.api import Script
from shard.behaviours.world import World
from shard.config import ShardConfig
from shard.durable.contract import EntityRow, WorldIdentity
from shard.durable.model import DurableCore
from shard.durable.spans import span_of
from shard.journal.journal import JOURNAL_S, Draft
from shard.journal.layouts import POSE, ROW
from shard.region import RegionCore
from shard.world.checks import broken
from tests.unit.shard.test_region import scripted
from tests.unit.shard.worlds import attach, boxes, busy_script, place

LEVEL = 2
LEAVES = Regions(128.0, LEVEL)
CONFIG = ShardConfig(
    rows=16, bounds_half_m=64.0, seed=5, region=1, square_m=(-64.0, -64.0, 64.0, 64.0), durable=True, leaves=LEAVES
)
World_ = dict[int, dict[str, Any]]


def make(epoch: int = 1, start: bool = True, script: Script | None = None, first_id: int = 1) -> RegionCore:
    config = replace(CONFIG, epoch=epoch, start=start, first_id=first_id)
    return RegionCore(config, place(boxes((-10, 3, 10, 4, 0, 5))), [script or busy_script()])


def store() -> DurableCore:
    made = DurableCore(WorldIdentity("test", 5, 128.0, LEVEL))
    made.fence(1, 1)
    return made


def seen(core: RegionCore) -> World_:
    """All that has to come back, by entity."""
    table = core.state.table
    names = [*ROW, *POSE, "kind", "hop", *(f"c.{name}" for name in core.state.registry.components)]
    timers = core.state.runner.timers.rows
    return {
        int(table.id[row]): {name: table.columns[name][row].tolist() for name in names}
        | {"timers": sorted(timers[timers["id"] == table.id[row]].tolist())}
        for row in table.rows().tolist()
    }


def here(*said: Upward) -> list[Upward]:
    return [replace(message, region=1) for message in said]


def again(kept: DurableCore, epoch: int, script: Script | None = None) -> tuple[RegionCore, list[str]]:
    kept.fence(1, epoch)
    core = make(epoch, start=False, script=script, first_id=epoch << 20)
    restored = core.begin_from(kept.load(*span_of(1, LEVEL)), {})
    assert broken(core.state) == []
    return core, [damage.why for damage in restored.damage]


@pytest.mark.parametrize("delay", [0, 1, 7])
def test_a_region_comes_back_as_it_was_at_its_last_commit(delay: int) -> None:
    """``delay``: ticks that a commit takes, during which the world goes on."""
    kept, core, given = store(), make(), list[list[int]]()
    under_way: list[tuple[int, Draft, World_, list[Any]]] = []
    written: tuple[World_, list[Any]] = ({}, [])
    drafts, epoch, at, last = 0, 1, 0, 0
    for tick in range(1, 500):
        at += 1
        step = core.step(at, here(*scripted(tick, given)))
        given.extend(step.delta.attached)
        pending = core.state.runner.pending
        if step.draft is not None:
            assert not under_way, "one batch at a time"
            said = [sorted(pending.enter), sorted(pending.leave), pending.messages]
            under_way.append((tick + delay, step.draft, seen(core), said))
            drafts += 1
        if under_way and under_way[0][0] <= tick:
            _, draft, world, said = under_way.pop()
            core.journaled(draft.batch.tick, kept.commit(draft.batch, 0.0).refused)
            written, last = (world, said), draft.batch.tick
        if tick % 97 == 0:
            epoch += 1
            core, damage = again(kept, epoch)
            assert damage == []
            assert seen(core) == written[0]
            pending = core.state.runner.pending
            assert [sorted(pending.enter), sorted(pending.leave), pending.messages] == written[1]
            under_way.clear()
            given.clear()
            core.state.tick = at = last
    assert drafts > 499 / (JOURNAL_S * 20 + delay) - 10


def test_what_does_not_change_is_not_written_again() -> None:
    script = Script("still")
    script.kind("stone", [script.component("weight", "f4")])

    @script.start
    def begin(world: World) -> None:
        world.spawn("stone", 100, pos=[3, 0, 3])

    core, sizes = make(script=script), []
    for tick in range(1, 60):
        draft = core.step(tick).draft
        if draft is not None:
            sizes.append((len(draft.batch.entities), len(draft.batch.poses)))
            core.journaled(draft.batch.tick, [])
    assert sizes[0] == (100, 1)
    assert set(sizes[2:]) == {(0, 0)}


def test_who_left_the_world_does_not_come_back_and_who_crossed_is_left_alone() -> None:
    kept, core = store(), make()
    ends = []
    for tick in range(1, 200):
        draft = core.step(tick).draft
        if draft is not None:
            core.journaled(draft.batch.tick, kept.commit(draft.batch, 0.0).refused)
            ends += [gone.id for gone in draft.batch.gone]
    assert ends
    back, _ = again(kept, 2)
    assert not {int(i) for i in ends} & seen(back).keys()


def test_who_is_newer_elsewhere_ends_here() -> None:
    kept, core = store(), make()
    draft = core.step(1).draft
    assert draft is not None
    row = next(iter(draft.batch.entities))
    kept._entities[row.id] = EntityRow(row.id, row.hop + 1, 16, row.data)
    assert kept.commit(draft.batch, 0.0).refused == [row.id]
    core.journaled(draft.batch.tick, [row.id])
    told = core.step(2).delta
    assert row.id not in seen(core)
    assert len(told.leave_row) == 1


def test_a_session_finds_its_body_again() -> None:
    kept, core = store(), make()
    given: list[list[int]] = []
    for tick in range(1, 30):
        step = core.step(tick, here(attach(tick, 7)) if tick == 2 else [])
        given += step.delta.attached
        if step.draft is not None:
            core.journaled(step.draft.batch.tick, kept.commit(step.draft.batch, 0.0).refused)
    back, _ = again(kept, 2)
    told = back.step(1, here(attach(1, 7, body=given[0][2]))).delta.attached
    assert [entry[2] for entry in told] == [given[0][2]]


def test_other_declarations_read_what_fits_and_name_what_does_not() -> None:
    kept, core, before = store(), make(), World_()
    for tick in range(1, 40):
        draft = core.step(tick).draft
        if draft is not None:
            core.journaled(draft.batch.tick, kept.commit(draft.batch, 0.0).refused)
            before = seen(core)
    script = Script("busy")
    fresh = script.component("age", "i4", default=3)
    mood = script.component("mood", "f8")
    label = script.component("label", "U4")
    script.kind("ghost", [fresh])
    script.kind("duck", [mood, label, fresh])
    back, damage = again(kept, 2, script)
    assert Counter(damage) == {"its kind 'ball' is not declared": 20}
    ducks = back.state.table.rows(back.state.registry.kind_number["duck"])
    table = back.state.table
    assert len(ducks)
    for row in ducks.tolist():
        assert table.columns["c.mood"][row] == np.float32(before[int(table.id[row])]["c.mood"])
        assert table.columns["c.age"][row] == 3
    draft = back.step(1).draft
    assert draft is not None
    kept.commit(draft.batch, 0.0)
    assert len([row for row in kept.load(*span_of(1, LEVEL)).entities if row.id in before]) == len(before)
    third, _ = again(kept, 3)  # the first declarations again: the balls have waited
    assert len(third.state.table.rows(third.state.registry.kind_number["ball"])) == 20


@pytest.mark.parametrize("what", ["cut", "layout", "note"])
def test_damaged_bytes_are_named_and_the_rest_is_served(what: str) -> None:
    kept, core = store(), make()
    draft = core.step(1).draft
    assert draft is not None
    kept.commit(draft.batch, 0.0)
    row = next(iter(draft.batch.entities))
    match what:
        case "cut":
            kept._entities[row.id] = replace(row, data=row.data[:-3])
        case "layout":
            kept._entities[row.id] = replace(row, data=b"\0" * 8 + row.data[8:])
        case "note":
            owner = kept._owners[1]
            assert owner.note is not None
            owner.note = replace(owner.note, data=b"\xc1" + owner.note.data)
    back, damage = again(kept, 2)
    assert damage
    assert len(seen(back)) == len(draft.batch.entities) - (what != "note")
