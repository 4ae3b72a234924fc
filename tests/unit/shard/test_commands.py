"""Command queues: what is taken, what is skipped, and that nobody walks faster than time."""

from collections.abc import Collection

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.commands import QUEUE
from shard.config import ShardConfig
from shard.region import RegionCore
from tests.unit.shard.worlds import attach, command, inputs

CONFIG = ShardConfig(bounds_half_m=64.0)


def joined() -> tuple[RegionCore, list[int]]:
    core = RegionCore(CONFIG)
    return core, core.step(1, [attach(1, 7)]).delta.attached[0]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.lists(st.tuples(st.integers(-3, 6), st.integers(0, 40)), max_size=9), min_size=1, max_size=60),
)
def test_time_spent_is_bounded_by_real_time(base: int, ticks: list[list[tuple[int, int]]]) -> None:
    """Floods, repeats, wrapped and skipped numbers, absurd steps: acknowledged numbers ascend, steps do not exceed
    ticks."""
    core, given_ = joined()
    row = given_[3]
    queues = core.state.queues()
    newest, acknowledged, earned = 0, 0, 0
    for tick, entries in enumerate(ticks, 2):
        said = []
        for ahead, steps in entries:
            said.append(((base + newest + ahead) % 2**32, command(127, steps=steps)))
            newest = max(newest, newest + ahead)
        x = float(core.state.table.pos[row, 0])
        own = core.step(tick, [inputs(tick, given_, said)] if said else []).delta
        earned += CONFIG.steps_per_tick
        assert 0 <= queues.bank[row] <= CONFIG.bank_steps_max
        assert 0 <= queues.queued[row] <= QUEUE
        most = min(earned, CONFIG.bank_steps_max)
        assert float(core.state.table.pos[row, 0]) - x <= most * 6.0 / 60 + 1e-9
        held = queues.seq[row, : queues.queued[row]].astype(np.int64)
        assert all((np.diff(held) % 2**32 < 2**31).tolist())
        if queues.heard[row] and len(own.own_seq):
            now = int(own.own_seq[0])
            if acknowledged:
                assert (now - acknowledged) % 2**32 < 2**31
            acknowledged = now


def test_repeated_commands_are_applied_once() -> None:
    core, given_ = joined()
    for tick in range(2, 30):
        said = [(seq, command(127)) for seq in range(max(2, tick - 4), tick + 1)]
        core.step(tick, [inputs(tick, given_, said)])
    assert core.state.counted.tolist()[0] == 28
    once, same = joined()
    for tick in range(2, 30):
        once.step(tick, [inputs(tick, same, [(tick, command(127))])])
    assert np.array_equal(core.state.table.pos[given_[3]], once.state.table.pos[same[3]])


def test_a_take_over_in_the_middle_of_a_command_walks_no_step_twice() -> None:
    """A session goes on over another connection while its body has taken 3 of 4 steps of a command; its client says
    everything again that is not acknowledged whole."""
    core, given_ = joined()
    steady, same = joined()
    wanted = [(seq, command(127, steps=4)) for seq in range(1, 7)]
    for tick in range(2, 16):
        said = wanted[:2] if tick == 2 else wanted[2:] if tick == 4 else []
        if tick == 3:
            assert core.state.queues().done[given_[3]] == 3
            (given_,) = core.step(tick, [attach(tick, 7, generation=2)]).delta.attached
        else:
            core.step(tick, [inputs(tick, given_, wanted if tick == 4 else said)])
        steady.step(tick, [inputs(tick, same, said)])
    assert core.state.table.columns["o.seq"][given_[3]] == 6
    assert np.array_equal(core.state.table.pos[given_[3]], steady.state.table.pos[same[3]])


def test_who_changes_its_gateway_while_it_walks_leaves_no_command_out() -> None:
    """It goes on by the former gateway until the next one welcomes it; then it says again what is not acknowledged."""
    core, former = joined()
    given_ = former
    steady, same = joined()
    for tick in range(2, 16):
        came = (2, 3) if tick == 2 else (tick + 1,)  # one is always waiting to be walked
        said = [(seq, command(127)) for seq in came]
        if tick == 6:
            (given_,) = core.step(
                tick, [attach(tick, 7, generation=1 << 16), inputs(tick, former, said)]
            ).delta.attached
        elif tick < 9:
            core.step(tick, [inputs(tick, former, said)])
        else:
            again = [(seq, command(127)) for seq in range(tick - 3, tick + 2)]
            core.step(tick, [inputs(tick, given_, again), inputs(tick, former, said)])
        steady.step(tick, [inputs(tick, same, said)])
        assert np.array_equal(core.state.table.pos[former[3]], steady.state.table.pos[same[3]]), tick
    assert core.state.counted[4] == 0, "no number was left out"


def test_commands_of_a_hiccup_are_caught_up_with_from_the_bank() -> None:
    """Four ticks without a command, then all at once: the body is where it would be, one or two ticks later."""
    core, given_ = joined()
    steady, same = joined()
    for tick in range(2, 40):
        late = range(20, 25) if tick == 24 else () if 20 <= tick < 24 else (tick,)
        core.step(tick, [inputs(tick, given_, [(seq, command(127)) for seq in late])])
        steady.step(tick, [inputs(tick, same, [(tick, command(127))])])
        assert core.state.queues().bank[given_[3]] >= 0
    behind = steady.state.table.pos[same[3], 0] - core.state.table.pos[given_[3], 0]
    assert behind <= 2 * 3 * 3.0 / 60 + 1e-9
    assert core.state.counted[3] == 0


def left_after_ticks(late: Collection[int], ticks: int) -> list[int]:
    """Steps that a steady walker has queued after each tick from 2 on, when commands of the ticks ``late`` come one
    tick late."""
    core, given_ = joined()
    queues, row = core.state.queues(), given_[3]
    left = [0, 0]
    for tick in range(2, ticks):
        came = [seq for seq in (tick - 1, tick) if (seq in late) == (seq < tick)]
        core.step(tick, [inputs(tick, given_, [(seq, command(127)) for seq in came])] if came else [])
        left.append(int(queues.steps[row, : queues.queued[row]].sum()) - int(queues.done[row]))
    return left


CALM = int(CONFIG.calm_s * CONFIG.rate_hz)


def test_a_single_hiccup_is_caught_up_with() -> None:
    """A third faster than time, until nothing behind it is late."""
    left = left_after_ticks({2 * CALM}, 3 * CALM)
    assert left[2 * CALM + 1 : 2 * CALM + 4] == [2, 1, 0]
    assert sum(left) == 3


def test_in_a_jittery_time_what_came_late_waits_until_it_is_calm() -> None:
    """The second hiccup leaves a tick's worth in the queue, which the third one needs; then it is walked off."""
    first = 2 * CALM
    left = left_after_ticks({first, first + 5, first + 12}, first + 3 * CALM)
    assert not any(left[first + 3 : first + 6])
    assert left[first + 6 : first + 12] == [3] * 6
    assert left[first + 12] == 0, "the third command was late, and another one was there"
    assert left[first + 13 : first + 6 + CALM] == [3] * (CALM - 7)
    assert not any(left[first + 9 + 2 * CALM :])


@pytest.mark.parametrize(
    "arrivals", [(2, 0), (1, 0, 2, 1), (3, 0, 0)], ids=["two at a time", "one late", "three at a time"]
)
def test_what_a_network_needs_is_not_walked_off(arrivals: tuple[int, ...]) -> None:
    """Commands come in clumps, as many as ticks: after the first clumps no tick goes without a step."""
    core, given_ = joined()
    queues, row = core.state.queues(), given_[3]
    seq = 1
    for tick in range(2, 120):
        came = arrivals[tick % len(arrivals)]
        core.step(tick, [inputs(tick, given_, [(seq + k, command(127)) for k in range(came)])] if came else [])
        seq += came
        if tick > 10:
            assert queues.bank[row] < CONFIG.bank_steps_max, f"tick {tick} went by without a step"
            assert core.state.table.vel[row, 0] > 0
    assert core.state.counted[3] == 0


def test_long_commands_are_not_hurried() -> None:
    """A client that says each third tick what to do for three walks evenly: what is left of a command delays none."""
    core, given_ = joined()
    x = []
    for tick in range(2, 100):
        said = [(tick // 3, command(127, steps=9))] if tick % 3 == 0 else []
        core.step(tick, [inputs(tick, given_, said)])
        x.append(float(core.state.table.pos[given_[3], 0]))
    assert np.allclose(np.diff(x)[20:], 3 * 3.0 / 60)


def test_a_lasting_backlog_is_dropped_and_counted() -> None:
    core, given_ = joined()
    core.step(2, [inputs(2, given_, [(seq, command(127)) for seq in range(1, 41)])])
    seq = 41
    for tick in range(3, 120):
        core.step(tick, [inputs(tick, given_, [(seq, command(127))])])
        seq += 1
    assert core.state.counted[3] > 0
    assert core.state.queues().queued[given_[3]] <= 2


def test_inputs_of_strangers_are_counted_and_change_nothing() -> None:
    core, given_ = joined()
    before = core.state.table.pos.copy()
    wrong = [*given_[:4], given_[4] + 1]
    far = [*given_[:3], 1 << 30, 1]
    core.step(2, [inputs(2, wrong, [(1, command(127))]), inputs(2, far, [(1, command(127))])])
    assert core.state.counted.tolist() == [0, 2, 0, 0, 0]
    assert np.array_equal(core.state.table.pos, before)
