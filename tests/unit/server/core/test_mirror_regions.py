"""The mirror over several regions: who goes from one to another keeps the row, in whichever order the news come."""

import numpy as np
import pytest

from protocol.link import RegionDelta
from server.core.mirror import NOWHERE, TRANSIT_TICKS, Mirror

A, B = 4, 5


def delta(region: int, seq: int, tick: int, *, epoch: int = 1, snapshot: bool = False) -> RegionDelta:
    return RegionDelta(region, epoch, seq, tick, snapshot)


def entering(
    made: RegionDelta, row: int, entity: int, *, hop: int = 0, version: int = 1, x_m: float = 0.0
) -> RegionDelta:
    """One more entity that enters, with its published state."""

    def add(name: str, value: object) -> None:
        column = getattr(made, name)
        setattr(made, name, np.concatenate([column, np.asarray([value], column.dtype)]))

    for name, value in {
        "enter_row": row, "enter_generation": 1, "enter_id": entity, "enter_kind": 1, "enter_hop": hop,
        "enter_state_version": 1, "enter_blob_bytes": 0, "row": row, "version": version,
        "p": [round(x_m * 256), 0, 0], "v": [0, 0, 0], "yaw": 0, "age": 0, "flags": 1,
    }.items():  # fmt: skip
        add(name, value)
    if made.snapshot:
        for name, value in {
            "far_version": version, "far_p": [0, 0, 0], "far_v": [0, 0, 0], "far_yaw": 0, "far_age": 0
        }.items():  # fmt: skip
            add(name, value)
    return made


def moved(made: RegionDelta, row: int, to: int) -> RegionDelta:
    made.moved_row, made.moved_to = np.array([row], np.uint32), np.array([to], np.int64)
    return made


@pytest.fixture
def mirror() -> Mirror:
    made = Mirror(cell_units=25_600)
    assert made.apply(entering(delta(A, 1, 1, snapshot=True), 0, 77))
    assert made.apply(delta(B, 1, 1, snapshot=True))
    made.advance(1)
    return made


@pytest.mark.parametrize("enter_first", [False, True])
def test_who_crosses_keeps_row_serial_and_view(mirror: Mirror, enter_first: bool) -> None:
    row = mirror.row_of(77)
    serial = int(mirror.hot["serial"][row])
    mirror.view_of[row] = 3
    news = [moved(delta(A, 2, 2), 0, B), entering(delta(B, 2, 2), 9, 77, hop=1, version=2)]
    for said in reversed(news) if enter_first else news:
        assert mirror.apply(said)
        mirror.advance(2)
    assert (mirror.row_of(77), int(mirror.hot["serial"][row]), int(mirror.view_of[row])) == (row, serial, 3)
    assert mirror.home_of(77) == B
    assert mirror.count == 1
    mirror.advance(2 + 2 * TRANSIT_TICKS)
    assert mirror.row_of(77) == row


def test_who_comes_nowhere_is_shown_for_a_while_and_leaves(mirror: Mirror) -> None:
    assert mirror.apply(moved(delta(A, 2, 2), 0, B))
    mirror.advance(2 + TRANSIT_TICKS)
    assert mirror.row_of(77) >= 0
    assert mirror.home_of(77) == NOWHERE
    mirror.advance(3 + TRANSIT_TICKS)
    assert mirror.row_of(77) == -1
    assert mirror.count == 0


def test_an_older_hop_takes_nothing_back(mirror: Mirror) -> None:
    assert mirror.apply(entering(delta(B, 2, 2), 9, 77, hop=2))
    assert mirror.apply(entering(delta(A, 1, 3, epoch=2, snapshot=True), 0, 77, hop=1))
    assert mirror.home_of(77) == B
    assert mirror.apply(delta(A, 2, 4, epoch=2))
    mirror.advance(5 + TRANSIT_TICKS)
    assert mirror.home_of(77) == B


def test_a_snapshot_leaves_the_rows_of_those_who_stay(mirror: Mirror) -> None:
    row, serial = mirror.row_of(77), int(mirror.hot["serial"][mirror.row_of(77)])
    assert not mirror.apply(delta(A, 5, 5)), "a gap"
    assert mirror.apply(entering(delta(A, 6, 6, snapshot=True), 0, 77, version=4))
    assert (mirror.row_of(77), int(mirror.hot["serial"][row])) == (row, serial)
    mirror.advance(7 + TRANSIT_TICKS)
    assert mirror.home_of(77) == A


def test_a_moved_region_goes_on_and_an_older_owner_is_not_heard(mirror: Mirror) -> None:
    assert mirror.apply(delta(A, 2, 2, epoch=2)), "its subscribers went along"
    left = delta(A, 3, 3, epoch=1)
    left.leave_row = np.array([0], np.uint32)
    assert mirror.apply(left)
    assert mirror.home_of(77) == A


def test_a_region_that_began_anew_does_not_follow_although_its_numbers_do(mirror: Mirror) -> None:
    anew = entering(delta(A, 2, 2, epoch=2), 0, 78)
    anew.born = 2
    assert not mirror.apply(anew)
    assert mirror.row_of(78) == -1


def test_a_region_that_is_forgotten_takes_its_own_along(mirror: Mirror) -> None:
    assert mirror.apply(entering(delta(B, 2, 2), 9, 78))
    mirror.forget(A)
    assert (mirror.row_of(77), mirror.home_of(78), mirror.regions) == (-1, B, [B])
    assert not mirror.apply(delta(A, 2, 2))
    mirror.advance(3)
    assert mirror.count == 1


@pytest.mark.parametrize("watch_first", [False, True])
def test_a_region_in_the_place_of_another_has_its_entities_at_their_hops(mirror: Mirror, watch_first: bool) -> None:
    """``watch_first``: the gateway hears that the region was split before the new one speaks."""
    heir, sibling = 16, 17
    assert mirror.apply(entering(delta(A, 2, 2), 3, 78))
    row, serial = mirror.row_of(77), int(mirror.hot["serial"][mirror.row_of(77)])
    mirror.view_of[row] = 3
    told = [entering(delta(number, 1, 3, epoch=2, snapshot=True), 5, 77) for number in (heir,)]
    told.append(delta(sibling, 1, 3, epoch=2, snapshot=True))
    for each in told:
        each.former = [A]
    if watch_first:
        mirror.retire(A, [heir, sibling], 2)
        mirror.advance(3)
    for each in told:
        assert mirror.apply(each)
    if not watch_first:
        assert mirror.row_of(78) >= 0
        mirror.retire(A, [heir, sibling], 3)
    assert (mirror.row_of(77), int(mirror.hot["serial"][row]), int(mirror.view_of[row])) == (row, serial, 3)
    assert mirror.home_of(77) == heir
    assert mirror.row_of(78) == -1, "all have told, and nobody has it"
    assert mirror.regions == [B, heir, sibling]
    mirror.advance(4 + TRANSIT_TICKS)
    assert mirror.row_of(77) == row


def test_whoever_is_in_a_part_that_nobody_tells_of_leaves_after_a_while(mirror: Mirror) -> None:
    mirror.retire(A, [16, 17], 2)
    mirror.advance(2 + TRANSIT_TICKS)
    assert mirror.home_of(77) == NOWHERE
    assert mirror.row_of(77) >= 0
    mirror.advance(3 + TRANSIT_TICKS)
    assert mirror.row_of(77) == -1
