"""The whole shard: determinism, dump and restore, deltas that a gateway can follow, replay, bad behaviours."""

import numpy as np
import pytest

from protocol.layouts import OWN_MOVED, OWN_ON_GROUND
from protocol.link import RegionDelta, Upward
from shard.behaviours.api import Script
from shard.behaviours.world import Rows, World
from shard.config import ShardConfig
from shard.phases.replay import ReplayMotion
from shard.region import RegionCore
from shard.world.checks import broken
from tests.unit.shard.worlds import attach, boxes, busy_script, command, inputs, place

CONFIG = ShardConfig(rows=16, bounds_half_m=64.0, seed=5)


def make() -> RegionCore:
    return RegionCore(CONFIG, place(boxes((-10, 3, 10, 4, 0, 5))), [busy_script()])


def scripted(tick: int, given: list[list[int]]) -> list[Upward]:
    """What three people do: they come one after the other, run about, and the second one leaves."""
    said = []
    if tick in (2, 30, 61):
        said.append(attach(tick, tick))
    if tick == 150:
        said.append(Upward(1, tick * 64, tick, detach=[[30, 1, True, 0]]))
    for k, body in enumerate(given):
        turn = (tick // 20 + k) % 4
        move = command((127, -127, 0, 0)[turn], (0, 0, 127, -127)[turn], buttons=1 + (tick % 17 == 0) * 2)
        said.append(inputs(tick, body, [(tick, move)]))
    return said


def run(core: RegionCore, first: int, end: int, given: list[list[int]], rebuild: int = 0) -> list[str]:
    hashes = []
    for tick in range(first, end):
        result = core.step(tick, scripted(tick, given))
        assert not result.faults
        given.extend(result.delta.attached)
        if rebuild and tick % rebuild == 0:
            core.rebuild_space()
        if tick % 50 == 0:
            hashes.append(core.state_hash())
    return hashes


def test_equal_histories_give_equal_worlds() -> None:
    assert run(make(), 1, 201, []) == run(make(), 1, 201, [])


def test_a_world_dumped_and_rebuilt_every_50_ticks_goes_on_alike() -> None:
    reference = run(make(), 1, 301, [], rebuild=50)
    core = make()
    given: list[list[int]] = []
    hashes = []
    for first in range(1, 301, 50):
        hashes += run(core, first, first + 50, given)
        dump = core.dump()
        core = make()
        core.restore(dump)
        assert core.dump() == dump
    assert hashes == reference
    assert broken(core.state) == []


def test_a_dump_of_another_world_is_refused() -> None:
    core = make()
    other = RegionCore(ShardConfig(seed=6), None, [])
    with pytest.raises(ValueError, match="another seed"):
        other.restore(core.dump())
    with pytest.raises(ValueError, match="not a dump"):
        other.restore(b"\x80")


def test_invariants_hold_at_every_tick() -> None:
    core = make()
    given: list[list[int]] = []
    for tick in range(1, 220):
        run(core, tick, tick + 1, given)
        assert broken(core.state) == []


class Follower:
    """What a gateway keeps of deltas: the plainest possible mirror."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[int, int]] = {}
        self.seq = 0
        self.p: dict[int, tuple[int, list[int], list[int]]] = {}

    def take(self, delta: RegionDelta) -> None:
        delta = RegionDelta.decode(delta.encode())
        if delta.snapshot:
            self.rows.clear()
            self.p.clear()
        else:
            assert delta.seq == self.seq + 1
        self.seq = delta.seq
        for row in delta.leave_row.tolist():
            del self.rows[row]
            del self.p[row]
        for row, id_ in zip(delta.enter_row.tolist(), delta.enter_id.tolist(), strict=True):
            assert row not in self.rows
            self.rows[row] = (id_, 0)
        for k, row in enumerate(delta.row.tolist()):
            assert row in self.rows
            self.p[row] = (delta.tick - int(delta.age[k]), delta.p[k].tolist(), delta.v[k].tolist())
        assert set(self.rows) == set(self.p)
        assert set(delta.state_row.tolist()) <= set(self.rows)
        assert int(delta.state_changed_bytes.sum()) + int(delta.state_full_bytes.sum()) == len(delta.state_blobs)
        assert int(delta.enter_blob_bytes.sum()) == len(delta.enter_blobs)


def test_a_follower_of_deltas_knows_everybody_within_a_centimetre() -> None:
    core = make()
    follower, late = Follower(), Follower()
    given: list[list[int]] = []
    for tick in range(1, 200):
        said = scripted(tick, given)
        if tick == 100:
            said.append(Upward(2, 1, tick, subscribe=True))
        result = core.step(tick, said)
        given.extend(result.delta.attached)
        follower.take(result.delta)
        if result.subscribe:
            assert result.subscribe == [2]
            late.take(core.snapshot_delta(result.delta.seq))
        elif tick > 100:
            late.take(result.delta)
        table = core.state.table
        live = {int(row): int(table.id[row]) for row in table.rows()}
        assert {row: id_ for row, (id_, _) in follower.rows.items()} == live
        for row, (at, p, v) in follower.p.items():
            shown = (16 * np.array(p) + np.array(v) * (tick - at)) / 2048
            assert np.linalg.norm(shown - table.pos[row]) < 0.01
        if tick > 100:
            assert late.rows == follower.rows
            assert late.p == follower.p


def test_schema_comes_with_the_first_delta_and_with_snapshots() -> None:
    core = make()
    assert core.step(1).delta.schema == core.schema
    second = core.step(2).delta
    assert second.schema is None
    assert core.snapshot_delta(2).schema == core.schema
    assert core.schema["kinds"][0] == [1, "person"]


def test_own_state_acknowledges_commands() -> None:
    core = RegionCore(CONFIG)
    given = core.step(1, [attach(1, 9)]).delta
    assert given.own_row.tolist() == [given.attached[0][3]]
    quiet = core.step(2).delta
    assert len(quiet.own_row) == 0
    own = core.step(3, [inputs(3, given.attached[0], [(70, command(127, steps=5))])]).delta
    assert (own.own_seq.tolist(), own.own_steps.tolist()) == ([69], [3])
    assert own.own_flags.tolist() == [OWN_ON_GROUND]
    own = core.step(4).delta
    assert (own.own_seq.tolist(), own.own_steps.tolist()) == ([70], [0])


def test_a_walker_that_is_no_longer_steered_comes_to_rest_and_says_so() -> None:
    core = RegionCore(CONFIG)
    given = core.step(1, [attach(1, 9)]).delta.attached[0]
    for tick in range(2, 12):
        core.step(tick, [inputs(tick, given, [(tick, command(127, buttons=1))])])
    assert core.state.table.vel[given[3], 0] > 3
    flags = [flag for tick in range(12, 40) for flag in core.step(tick).delta.own_flags.tolist()]
    assert not core.state.table.vel[given[3]].any()
    assert any(flag & OWN_MOVED for flag in flags)
    assert len(core.step(40).delta.own_row) == 0


def test_the_gateway_that_has_a_body_and_no_other_lets_it_go() -> None:
    core = RegionCore(CONFIG)
    row = core.step(1, [attach(1, 9)]).delta.attached[0][3]
    core.step(2, [Upward(2, 1, 2, detach=[[9, 7, False, 0]])])
    assert core.state.table.columns["o.attached"][row] == 1
    core.step(3, [Upward(1, 192, 3, detach=[[9, 1, False, 0]])])
    assert core.state.table.columns["o.attached"][row] == 0


def test_a_body_returns_to_its_session_and_only_to_the_newest() -> None:
    core = RegionCore(CONFIG)
    first = core.step(1, [attach(1, 9)]).delta.attached[0]
    core.step(2, [Upward(1, 128, 2, detach=[[9, 1, False, 0]])])
    again = core.step(3, [attach(3, 12, generation=2, body=first[2])]).delta.attached[0]
    assert again[1:] == [2, *first[2:]]
    late = core.step(4, [Upward(1, 256, 4, detach=[[12, 1, True, 0]], attach=[[12, 1, "x", "person", "tv", first[2]]])])
    assert late.delta.attached == []
    assert core.state.table.count == 1
    gone = core.step(5, [Upward(1, 320, 5, detach=[[12, 2, True, 0]])]).delta
    assert gone.leave_row.tolist() == [first[3]]
    assert broken(core.state) == []


def test_a_full_world_refuses() -> None:
    core = RegionCore(ShardConfig(people_max=2))
    delta = core.step(1, [attach(1, 1, 2, 3)]).delta
    assert [entry[0] for entry in delta.attached] == [1, 2]
    assert delta.refused[0][:2] == [3, 4100]


def test_a_thousand_people_spawn_apart() -> None:
    core = RegionCore(CONFIG)
    core.step(1, [attach(1, *range(1, 1001))])
    pos = core.state.table.pos[core.state.table.rows()]
    assert len(np.unique(np.round(pos[:, [0, 2]], 1), axis=0)) > 900
    assert np.abs(pos).max() < 64


def test_a_behaviour_that_raises_is_switched_off_and_the_world_goes_on() -> None:
    script = Script("bad")
    script.kind("duck", [])

    @script.start
    def begin(world: World) -> None:
        world.spawn("duck", 3)

    @script.every("duck")
    def explode(world: World, ducks: Rows) -> None:
        world.spawn("duck", 5)
        raise RuntimeError("boom")

    @script.every("duck")
    def drift(world: World, ducks: Rows) -> None:
        ducks.pos[:, 0] += 1
        if world.tick == 4:
            ducks.pos[0, 0] = np.nan

    core = RegionCore(CONFIG, None, [script])
    faults = core.step(1).faults
    assert [fault.behaviour for fault in faults] == ["bad.explode"]
    assert "boom" in faults[0].text
    assert "explode" in faults[0].trace
    assert core.step(2).faults == []
    core.step(3)
    assert [fault.behaviour for fault in core.step(4).faults] == ["bad.drift"]
    assert core.state.table.pos[core.state.table.rows(), 0].tolist() == [3, 3, 3]
    restored = RegionCore(CONFIG, None, [script])
    restored.restore(core.dump())
    assert restored.step(5).faults == []


def test_replay_shows_the_arrays_and_acknowledges_commands() -> None:
    random = np.random.default_rng(1)
    position = random.normal(size=(7, 5, 3)).astype(np.float32)
    velocity = random.normal(size=(7, 5, 3)).astype(np.float32)
    yaw = random.uniform(0, 6, (7, 5)).astype(np.float32)
    core = RegionCore(CONFIG, replay_motion=ReplayMotion(position, velocity, yaw))
    delta = core.step(1, [attach(1, 50, 51)]).delta
    assert [entry[3] for entry in delta.attached] == [0, 1]
    assert len(delta.enter_row) == 5
    for tick in range(2, 20):
        delta = core.step(tick, [inputs(tick, delta.attached[0] if delta.attached else [0, 0, 0, 1, 1], [])]).delta
        assert np.array_equal(core.state.table.pos[:5], position[tick % 7])
    delta = core.step(20, [inputs(20, [0, 0, 0, 1, 1], [(8, command(127))])]).delta
    assert delta.own_seq.tolist()[delta.own_row.tolist().index(1)] == 8
    assert np.array_equal(core.state.table.pos[:5], position[20 % 7])


def test_ticks_never_go_back_and_never_leap() -> None:
    core = RegionCore(CONFIG, tick=10)
    for wrong in (10, 9, 15):
        with pytest.raises(ValueError, match="1 to 4 ticks"):
            core.step(wrong)
    assert core.step(14).delta.tick == 14
