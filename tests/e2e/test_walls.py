"""Walls stop a person, and the page knows that as well as the server does."""

import pytest

from protocol.walking import RADIUS
from tests.e2e.conftest import Visit
from tests.e2e.footprints import Footprints
from tests.e2e.visitor import Visitor

CORRECTION_MAX_M = 0.05


@pytest.fixture(scope="session")
def footprints() -> Footprints:
    return Footprints()


def test_a_wall_stops_a_person(visit: Visit, footprints: Footprints) -> None:
    anna, bert = visit("Anna"), visit("Bert")
    body = anna.get("body")
    gaps: list[float] = []

    def touches() -> bool:
        gaps.append(footprints.gap(anna.at))
        return gaps[-1] < RADIUS + 0.03

    anna.look_at(footprints.nearest_wall(anna.at))
    anna.page.keyboard.down("Shift")
    anna.page.keyboard.down("KeyW")
    anna.until("to come to a wall", touches)
    _scrape(anna, "KeyA", touches)
    _scrape(anna, "KeyD", touches)
    anna.page.keyboard.up("KeyW")
    anna.page.keyboard.up("Shift")
    anna.until("to have every command applied", lambda: anna.get("unacknowledged") == 0)
    assert min(gaps) > RADIUS - 0.03, f"came as near as {min(gaps)} m to a footprint"
    # Others extrapolate between frames (STANDARD.md §4), so only where she comes to rest is a wall's business for them.
    bert.until("to see her at rest beside the wall", lambda: footprints.gap(bert.where(body)) > RADIUS - 0.03)
    assert anna.get("correctionMaxM") <= CORRECTION_MAX_M
    assert anna.get("rejected") == bert.get("rejected") == 0
    assert anna.errors == bert.errors == []


def _scrape(visitor: Visitor, key: str, look: object) -> None:
    """Run along the wall for two seconds of the world, looking all the time."""
    assert callable(look)
    begun = visitor.get("tick")
    visitor.page.keyboard.down(key)
    visitor.until("to have scraped along", lambda: (look(), visitor.get("tick") >= begun + 40)[1])
    visitor.page.keyboard.up(key)
