"""The case latency: plans that are the same for all, and what is judged of what was measured."""

from itertools import pairwise

import numpy as np
import pytest

from bench.latency import COLYSEUS, OURS_UDP, OURS_WS, Delays, delays_of, latency_targets
from bench.marked import TICK_S, YAW_APART, plan_of

WINDOW = {"ticks": 300, "seconds": 15.0, "done_p99_s": 0.01}


def told(*delays: float | None) -> dict[str, object]:
    return {
        "visible": 50.0,
        "losses": 0,
        "marks": [{"kind": "turn", "delay_ms": delay, "asked_ms": delay} for delay in delays],
    }


def measured(name: str, *delays: float | None) -> Delays:
    return delays_of(name, 100, told(*delays), WINDOW, 0, 0.1, 0.0)


def test_plans_are_repeated_and_differ_by_client() -> None:
    assert plan_of(1, 20.0, 5) == plan_of(1, 20.0, 5)
    assert plan_of(1, 20.0, 5) != plan_of(2, 20.0, 5)
    assert plan_of(1, 20.0, 5) != plan_of(1, 20.0, 6)


def test_marks_go_evenly_over_the_phases_of_a_tick_and_can_be_told_apart() -> None:
    plans = [plan_of(number, 20.0, 1) for number in range(8)]
    for plan in plans:
        assert plan[0].kind == "start"
        assert plan[-1].kind == "stop"
        assert all(after.at_s - mark.at_s > 2 * TICK_S for mark, after in pairwise(plan))
        turned = np.diff([mark.yaw for mark in plan]) % 256
        assert (np.minimum(turned, 256 - turned) >= YAW_APART).all()
    phases = np.array([mark.at_s % TICK_S for plan in plans for mark in plan]) / TICK_S
    for kind in ("start", "turn", "stop"):
        some = np.array([mark.at_s % TICK_S for plan in plans for mark in plan if mark.kind == kind]) / TICK_S
        assert abs(some.mean() - 0.5) < 0.1
    assert np.abs(np.histogram(phases, 10, (0, 1))[0] / len(phases) - 0.1).max() < 0.02


def test_a_run_is_judged_only_if_marks_were_seen_and_the_rate_was_held() -> None:
    assert measured(OURS_WS, *[30.0] * 200).valid
    assert measured(OURS_WS, *[30.0] * 200, None).valid
    assert not measured(OURS_WS, *[30.0] * 100, None, None).valid
    assert not measured(OURS_WS).valid
    assert not delays_of(OURS_WS, 100, told(30.0), {**WINDOW, "ticks": 280}, 0, 0.1, 0.0).valid
    assert not delays_of(OURS_WS, 100, told(30.0), WINDOW, 1, 0.1, 0.0).valid


def test_ratios_are_of_one_round_and_their_median_is_judged() -> None:
    rounds = [
        {OURS_WS: measured(OURS_WS, ours), OURS_UDP: measured(OURS_UDP, 50.0), COLYSEUS: measured(COLYSEUS, peer)}
        for ours, peer in ((20.0, 40.0), (30.0, 40.0), (90.0, 40.0))
    ]
    targets = latency_targets(rounds)
    assert [target.value for target in targets] == pytest.approx([0.75, 0.75, 1.25, 1.25])
    assert [target.verdict for target in targets] == ["met", "met", "MISSED", "MISSED"]
    assert {target.verdict for target in latency_targets([])} == {"not measured"}
