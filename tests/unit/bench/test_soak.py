"""The soak's judgement: a leak is found in whatever noise, and noise is no leak; its table of disturbances is whole."""

import numpy as np

from bench.soak.series import GROWS, LIFE_S_MIN, SAMPLES_MIN, SHORT, STEADY, Bound, judge
from bench.soak.troubles import TROUBLES, drawn

BOUND = Bound(2.0, 0.0, "for tests")
LIFE_S = 1800.0


def _series(value: object, life_s: float = LIFE_S, every_s: float = 5.0) -> list[tuple[float, float]]:
    assert callable(value)
    return [(at_s, float(value(at_s))) for at_s in np.arange(0.0, life_s, every_s).tolist()]


def test_what_stays_is_steady_and_what_grows_is_told_with_its_rate() -> None:
    assert judge("p", "f", _series(lambda at_s: 50), BOUND).verdict == STEADY
    grown = judge("p", "f", _series(lambda at_s: 50 + at_s / 360), BOUND)
    assert grown.verdict == GROWS
    assert abs(grown.per_hour - 10.0) < 0.5


def test_filling_up_at_the_start_and_spikes_are_no_growth() -> None:
    rng = np.random.default_rng(1)
    spikes = _series(lambda at_s: 50 + (100 if rng.random() < 0.2 else 0))
    assert judge("p", "f", spikes, BOUND).verdict == STEADY
    assert judge("p", "f", _series(lambda at_s: min(50.0, at_s / 2)), BOUND).verdict == STEADY


def test_chance_is_no_growth_and_a_leak_below_it_is_found() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        noise = _series(lambda at_s, rng=rng: 50 + rng.normal(0.0, 5.0))
        assert judge("p", "f", noise, BOUND).verdict == STEADY, seed
        leak = [(at_s, value + at_s / 60) for at_s, value in noise]
        assert judge("p", "f", leak, BOUND).verdict == GROWS, seed


def test_what_shrinks_does_not_grow() -> None:
    assert judge("p", "f", _series(lambda at_s: 500 - at_s / 10), BOUND).verdict == STEADY


def test_a_short_life_or_few_samples_give_no_verdict() -> None:
    assert judge("p", "f", _series(lambda at_s: at_s, LIFE_S_MIN - 10.0), BOUND).verdict == SHORT
    few = _series(lambda at_s: at_s, LIFE_S, LIFE_S / (SAMPLES_MIN - 1))
    assert judge("p", "f", few, BOUND).verdict == SHORT
    assert judge("p", "f", [(0.0, 1.0)], BOUND).verdict == SHORT


def test_each_kind_of_disturbance_comes_once_in_each_round_and_a_seed_replays() -> None:
    def of(seed: int) -> list[str]:
        kinds = drawn(np.random.default_rng(seed))
        return [next(kinds) for _ in range(3 * len(TROUBLES))]

    told = of(7)
    for first in range(0, len(told), len(TROUBLES)):
        assert sorted(told[first : first + len(TROUBLES)]) == sorted(TROUBLES)
    assert told == of(7) != of(8)
