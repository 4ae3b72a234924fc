"""The overload planner: ticks are the world's, merging is bounded, shedding goes up and down."""

from hypothesis import given
from hypothesis import strategies as st

from shard.region import TICKS_MAX
from shard.ticker import LEVEL_MAX, Ticker


def drive(ticker: Ticker, cost_s: float, seconds: float, now_s: float = 100.0, last: int = 0) -> tuple[float, int, int]:
    """Steps that cost ``cost_s`` each; returns when it ended, the last tick, and the longest merge."""
    end_s, longest = now_s + seconds, 0
    while now_s < end_s:
        plan = ticker.plan(now_s, last)
        if plan.tick is None:
            now_s += max(plan.wait_s, 1e-6)
            continue
        longest = max(longest, plan.tick - last)
        last = plan.tick
        now_s += cost_s
        ticker.ended(now_s, last)
    return now_s, last, longest


def test_an_easy_load_steps_each_tick_at_its_time() -> None:
    ticker = Ticker(100.0, 20)
    now_s, last, longest = drive(ticker, 0.005, 10.0)
    assert abs(last - ticker.tick_at(now_s)) <= 1
    assert (longest, ticker.level, ticker.late_steps) == (1, 0, 0)


def test_lag_is_what_is_due_besides_the_next_tick() -> None:
    ticker = Ticker(100.0, 20)
    assert ticker.lag(100.51, 10) == 0
    assert ticker.lag(100.56, 10) == 0, "tick 11 is just due"
    assert ticker.lag(100.61, 10) == 1
    assert ticker.lag(100.41, 10) == 0, "a clock that was set back"


def test_overload_sheds_far_levels_then_the_rate_and_recovers() -> None:
    ticker = Ticker(100.0, 20)
    now_s, last, longest = drive(ticker, 0.08, 2.5)
    assert 1 <= ticker.level <= LEVEL_MAX
    assert ticker.plan(now_s, last).far_slack > 1
    now_s, last, longest = drive(ticker, 0.08, 20.0, now_s, last)
    assert ticker.level >= 3
    assert longest <= TICKS_MAX
    assert ticker.tick_at(now_s) - last <= TICKS_MAX
    now_s, last, _ = drive(ticker, 0.002, 120.0, now_s, last)
    assert ticker.level == 0
    assert abs(last - ticker.tick_at(now_s)) <= 1


@given(st.floats(0, 1e6), st.integers(0, 10**8))
def test_a_plan_never_goes_back_nor_beyond_the_present(now_s: float, last: int) -> None:
    ticker = Ticker(0.0, 20)
    plan = ticker.plan(now_s, last)
    if plan.tick is None:
        assert plan.wait_s >= 0
        assert ticker.tick_at(now_s) <= last
    else:
        assert last < plan.tick <= min(last + TICKS_MAX, ticker.tick_at(now_s))


def test_who_only_shows_takes_all_that_it_is_behind_at_once() -> None:
    ticker = Ticker(0.0, 20)
    ticker.ticks_max = 1 << 40
    plan = ticker.plan(100.0, 10)
    assert plan.tick == ticker.tick_at(100.0)
    assert ticker.plan(100.0, plan.tick).tick is None
