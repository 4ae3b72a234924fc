"""A process's regions: routed to, moved between processes, and told what is not theirs any more."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.border import Border
from protocol.link import RegionDelta, Upward
from shard.config import ShardConfig
from shard.core import ShardCore, StepResult
from shard.gateways import WINDOW, Gateways
from shard.region import RegionCore
from tests.unit.shard.seam import TWO
from tests.unit.shard.worlds import boxes, busy_script, command, inputs, place

CONFIG = ShardConfig(bounds_half_m=64.0, seed=5)


def neighbour(region: int) -> list[tuple[int, tuple[float, float, float, float]]]:
    return [(other, square) for other, square in TWO.items() if other != region]


def process(*regions: int, epoch: int = 1) -> ShardCore:
    core = ShardCore(CONFIG, place(boxes(), [(-2.0, 0.0), (2.0, 0.0)]))
    for region in regions:
        core.add_region(region, epoch, TWO[region], neighbour(region), first_id=region << 40, id_count=1 << 30)
    return core


def join(tick: int, region: int, session: int = 1) -> Upward:
    entry = [session, 1, "P", "person", "desktop", 0]
    return Upward(9, tick, tick, region, subscribe=True, attach=[entry])


def walk(tick: int, region: int, given_: list[int], epoch: int = 0) -> Upward:
    message = inputs(tick, given_, [(tick, command(127))])
    message.region, message.epoch = region, epoch
    return message


def deltas(result: StepResult, region: int) -> list[RegionDelta]:
    return [p.delta for p in result.published if p.delta.region == region]


def test_one_region_goes_as_without_a_process() -> None:
    alone = RegionCore(CONFIG, None, [busy_script()])
    core = ShardCore(CONFIG, None, [busy_script()])
    core.add_region(0, 1, start=True)
    for tick in range(1, 80):
        said = [join(tick, 0)] if tick == 5 else []
        result = core.step(tick, said)
        step = alone.step(tick, said)
        assert result.published[0].delta.encode() == step.delta.encode()
        assert result.published[0].subscribe == step.subscribe == ([9] if tick == 5 else [])
        assert result.published[0].gateways == step.gateways == ([9] if tick >= 5 else [])
        assert result.borders == []
    assert core.regions[0].state_hash() == alone.state_hash()


def drive(cores: list[ShardCore], ticks: range, given_: list[int], region: int) -> tuple[list[int], int]:
    """Walk east; messages between processes arrive with the next step. Returns where the body is."""
    wire: list[Border] = []
    for tick in ticks:
        came, wire = wire, []
        for core in cores:
            said = [walk(tick, region, given_)]
            result = core.step(tick, said, [Border.decode(m.encode()) for m in came])
            wire += result.borders
            for published in result.published:
                for entry in published.delta.attached:
                    given_, region = entry, published.delta.region
    return given_, region


@pytest.mark.parametrize("together", [True, False])
def test_a_body_crosses_within_a_process_and_between_two_alike(together: bool) -> None:
    cores = [process(4, 5)] if together else [process(4), process(5)]
    firsts = [core.step(1, [join(1, 4)]) for core in cores]
    entry = deltas(firsts[0], 4)[0].attached[0]
    given_, region = drive(cores, range(2, 60), entry, 4)
    assert region == 5
    assert given_[2] == entry[2]
    home = next(core for core in cores if 5 in core.regions).regions[5].state
    assert home.table.pos[home.table.row(entry[2]), 0] == pytest.approx(-1.85 + 0.15 * 55, abs=1.5)


def test_a_region_moves_to_another_process_and_its_gateways_follow_without_a_gap() -> None:
    old, new = process(4, 5), process()
    given_ = deltas(old.step(1, [join(1, 4)]), 4)[0].attached[0]
    seqs = [1]
    for tick in range(2, 10):
        seqs += [d.seq for d in deltas(old.step(tick, [walk(tick, 4, given_)]), 4)]
    dump = old.freeze_region(4)
    assert deltas(old.step(10, [walk(10, 4, given_)]), 4) == []
    new.tick = 10
    new.take_region(4, dump, 2, TWO[4], neighbour(4))
    assert new.step(11).published == [], "it waits until it is told to go"
    for tick in (11, 12, 13):
        old.step(tick)
    new.step(12)
    new.thaw_region(4)
    old.drop_region(4)
    result = new.step(13, [walk(13, 4, given_, epoch=2)])
    seqs += [d.seq for d in deltas(result, 4)]
    assert result.published[-1].gateways == [9]
    assert new.regions[4].tick == 13
    assert new.regions[4].epoch == 2
    assert seqs == list(range(1, len(seqs) + 1))
    table = new.regions[4].state.table
    assert table.row(given_[2]) == given_[3]
    with pytest.raises(ValueError, match="epochs only grow"):
        new.thaw_region(4, 1)
    with pytest.raises(ValueError, match="owned already"):
        new.add_region(4, 3, TWO[4], neighbour(4))


def test_a_move_that_fails_leaves_the_old_owner_as_if_nothing_had_been() -> None:
    old = process(4, 5)
    given_ = deltas(old.step(1, [join(1, 4)]), 4)[0].attached[0]
    for tick in range(2, 10):
        old.step(tick, [walk(tick, 4, given_)])
    old.freeze_region(4)
    for tick in range(10, 16):
        old.step(tick)
    old.thaw_region(4)
    result = old.step(16)
    assert [d.tick for d in deltas(result, 4)] == [13, 16]
    assert old.regions[4].tick == old.regions[5].tick == 16


def test_who_begins_anew_while_a_region_catches_up_gets_one_snapshot_of_the_last_step() -> None:
    old = process(4, 5)
    old.step(1)
    old.freeze_region(4)
    for tick in range(2, 8):
        old.step(tick)
    old.thaw_region(4)
    result = old.step(8, [join(8, 4)])
    told = [(p.delta.tick, p.subscribe, p.gateways) for p in result.published if p.delta.region == 4]
    assert told == [(5, [], []), (8, [9], [9])]
    snapshot = next(p for p in result.published if p.subscribe).snapshot()
    assert (snapshot.tick, snapshot.snapshot, len(snapshot.enter_id)) == (8, True, 1)
    assert snapshot.attached[0][:2] == [1, 1]


def test_what_belongs_to_another_life_is_dropped_and_told() -> None:
    core = process(4, epoch=3)
    wire = process(5).step(1).borders
    assert core.step(1, [], wire).lost == []
    old, new = wire[0], Border.decode(wire[0].encode())
    new.epoch, new.tick = 2, 2
    core.step(2, [], [new])
    old.tick = 3
    core.step(3, [], [old])
    assert core.regions[4].counts["messages of old owners"] == 1
    new.target_epoch, new.tick = 4, 4
    assert core.step(4, [], [new]).lost == [4]
    assert core.step(5, [Upward(1, 1, 5, 4, epoch=4)]).lost == [4]
    assert core.step(6, [Upward(1, 2, 6, 4, epoch=2)]).lost == []
    given_ = deltas(core.step(7, [join(7, 4)]), 4)[0].attached[0]
    core.step(8, [walk(8, 4, given_, epoch=2)])
    assert core.regions[4].state.counted.tolist() == [0, 0, 0, 0, 0], "rows of an earlier life are others' now"
    core.step(9, [walk(9, 4, given_, epoch=3)])
    assert core.regions[4].state.counted.tolist() == [1, 0, 0, 0, 0]


def test_items_that_make_no_sense_are_reported_and_harm_nobody() -> None:
    core = process(4)
    wire = process(5).step(1).borders
    core.step(1, [], wire)
    bad = Border.decode(wire[0].encode())
    bad.tick, bad.target_epoch = 2, 1
    bad.items = [b"\xc1", b"\x93\x06\x91\x01\x90", b"\x92\x05\x01", b"\x92\x04\x05"]
    bad.ghost_id = np.array([7, 7, 8], np.uint64)
    bad.ghost_hop, bad.ghost_kind = np.zeros(3, np.uint32), np.array([1, 1, 99], np.uint16)
    bad.ghost_pos, bad.ghost_vel = np.full((3, 3), 1.0), np.full((3, 3), np.nan)
    bad.ghost_yaw, bad.ghost_spin, bad.ghost_flags = np.zeros(3), np.zeros(3), np.zeros(3, np.uint8)
    result = core.step(2, [], [bad, bad])
    assert len(result.faults) == 3
    assert core.regions[4].counts["bad items"] == 3
    assert len(core.regions[4].state.table.ghosts()) == 0
    assert core.step(3).faults == []


@given(st.permutations(range(1, 30)), st.lists(st.integers(1, 29), max_size=20))
def test_messages_of_gateways_are_taken_once_in_any_order(order: list[int], again: list[int]) -> None:
    gateways = Gateways()
    taken = []
    for seq in [*order, *again]:
        message = Upward(3, seq, 1, subscribe=seq % 3 == 0, unsubscribe=seq % 3 == 1)
        fresh = gateways.fresh([message], 1)
        gateways.subscribe(fresh)
        taken += [m.seq for m in fresh]
    assert taken == order
    assert gateways.subscribed == [], "message 28 was the newest word"
    loaded = Gateways()
    loaded.load(gateways.state())
    assert loaded.fresh([Upward(3, 5, 1), Upward(3, 29 + WINDOW, 1), Upward(3, 29, 1)], 1)[0].seq == 29 + WINDOW
    assert loaded.fresh([Upward(3, 1, 1)], 1) == []


def test_a_region_needs_room() -> None:
    with pytest.raises(ValueError, match="at least 32 m"):
        ShardConfig(region=4, square_m=(0.0, 0.0, 31.0, 64.0), neighbours=((5, (31.0, 0.0, 64.0, 64.0)),))
    with pytest.raises(ValueError, match="needs square_m"):
        ShardConfig(region=4, neighbours=((5, (31.0, 0.0, 64.0, 64.0)),))
