"""Sessions that are told to move, for affinity and by a drain: people keep everything and notice nothing."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from server.core.gateway import GatewayCore
from server.core.views import Batch
from server.sending import Rules
from server.session.switching import Switching
from tests.sim.camps import EAST, REFUSED, WEST, Camps, begin
from tests.sim.checkers import check_one_body_each
from tests.sim.hosts import RATE_HZ

GAP_TICKS = 3
GATHER_S, WALK_S, DRAIN_S = 34, 36, 5


def check_nobody_noticed(camps: Camps, refused: bool = False) -> None:
    """No close, no loss, no gap in what clients applied. ``refused``: whether gateways that began to drain may have
    refused those who were sent to them a moment before; they stay where they are."""
    closes = camps.closes()
    assert closes.keys() <= ({REFUSED} if refused else set()), f"unplanned: {closes}"
    assert camps.gaps.lost == 0
    worst = camps.gaps.worst()
    assert worst is not None
    assert worst.worst_ticks <= GAP_TICKS, f"a gap: {worst}"
    check_one_body_each(camps.world)


def test_each_camp_comes_to_be_at_one_gateway_and_a_long_walk_moves_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    camps = begin(monkeypatch, seed=1, gateways=2, people=12)
    camps.come()
    bodies = camps.bodies()
    camps.live(GATHER_S * RATE_HZ)
    assert camps.gateways_at(WEST) != camps.gateways_at(EAST)
    assert [len(camps.gateways_at(home)) for home in (WEST, EAST)] == [1, 1]
    assert camps.mirrored() == [1, 1], "of four regions"

    before = camps.sent("affinity")
    camps.home[0] = EAST
    camps.live(WALK_S * RATE_HZ)
    assert {camps.gateway_of(0)} == camps.gateways_at(EAST)
    assert [len(camps.gateways_at(home)) for home in (WEST, EAST)] == [1, 1]
    assert camps.sent("affinity") == before + 1
    assert camps.bodies() == bodies
    check_nobody_noticed(camps)


def test_without_affinity_everybody_stays_and_everything_is_mirrored_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    camps = begin(monkeypatch, 1, gateways=2, people=12, rules=Rules(affinity=False))
    camps.come()
    camps.live(GATHER_S * RATE_HZ)
    assert camps.sent("affinity") == 0
    assert [camps.gateways_at(home) for home in (WEST, EAST)] == [{0, 1}, {0, 1}]
    assert camps.mirrored() == [2, 2]


def drained(patch: pytest.MonkeyPatch, seed: int) -> Camps:
    """Three gateways are drained, one after the other."""
    camps = begin(patch, seed, gateways=3, people=12)
    camps.come()
    bodies = camps.bodies()
    for number in range(3):
        assert camps.world.drain_gateway(number)
        camps.live(DRAIN_S * RATE_HZ)
        assert camps.bodies() == bodies
    return camps


@pytest.mark.parametrize("seed", [1, 2])
def test_a_drain_closes_nobody_and_leaves_no_gap(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    camps = drained(monkeypatch, seed)
    assert len(camps.gaps.switches) >= 12
    check_nobody_noticed(camps, refused=True)


# ---------------------------------------------------------------------------------------- what the measurement can find
def late_first_frame(patch: pytest.MonkeyPatch) -> None:
    """A new view gets its first frame five ticks after its WELCOME."""
    honest = GatewayCore.frames
    opened: dict[tuple[int, int, float], int] = {}

    def frames(self: GatewayCore, tick: int, now_s: float, blocked: npt.NDArray[np.uint8]) -> Iterator[Batch]:
        for conn in self.sessions.live_conns.tolist():
            begun = opened.setdefault((id(self), self.bodies.session_of[conn], self.sessions.joins.total()), tick)
            blocked[conn] |= tick < begun + 5
        return honest(self, tick, now_s, blocked)

    patch.setattr(GatewayCore, "frames", frames)


def close_at_once(patch: pytest.MonkeyPatch) -> None:
    """The old gateway does not wait until the client has switched."""
    patch.setattr(Switching, "_was_told", lambda self, conn, now_s: False)


@pytest.mark.parametrize(
    ("mutant", "found"),
    [(late_first_frame, "a gap"), (close_at_once, "unplanned: .*4303")],
)
def test_a_mutant_is_found(
    mutant: Callable[[pytest.MonkeyPatch], Any], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    camps = drained(monkeypatch, 1)
    with pytest.raises(AssertionError, match=found):
        check_nobody_noticed(camps, refused=True)
