"""A gateway's steady tick makes as many calls for many views as for few: no Python runs view by view."""

import pytest

from tests.counting import Work
from tests.integration.crowd import PHASES, Crowd

FEW, MANY = 100, 2000
COUNTED_TICKS = 20


def work_of_steady_ticks(people: int) -> dict[str, Work]:
    crowd = Crowd(people)
    try:
        crowd.settle()
        crowd.forget()
        before = crowd.gateway.inputs, crowd.carriers.sent_frames
        for _ in range(COUNTED_TICKS):
            assert not crowd.tick()
            crowd.hear()
            crowd.say()
        # What was counted is work: everybody's command was taken, everybody was told of others.
        assert crowd.gateway.inputs - before[0] == COUNTED_TICKS * people
        assert crowd.carriers.sent_frames - before[1] == COUNTED_TICKS * people
        assert crowd.updates > COUNTED_TICKS * people
        return crowd.work
    finally:
        crowd.end()


async def test_a_tick_makes_as_many_calls_for_many_views_as_for_few() -> None:
    few, many = work_of_steady_ticks(FEW), work_of_steady_ticks(MANY)
    for phase in PHASES:
        assert few[phase].calls > 0, phase
        assert many[phase].calls == pytest.approx(few[phase].calls, rel=0.05), phase
        assert many[phase].lines == pytest.approx(few[phase].lines, rel=0.05), phase
