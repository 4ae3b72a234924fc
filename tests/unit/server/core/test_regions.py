"""What a gateway tells regions: which are mirrored, what is said again when it got lost, what is not said for ever."""

from typing import Any

import numpy as np

from cluster.partition import Partition
from cluster.regions import Layout
from protocol.layouts import GRID_PER_M
from protocol.link import RegionDelta, Upward
from server.core.regions import ASK_AGAIN_S, LINGER_S, SENT_MAX, SILENT_S, Regions, touched
from shard.gateways import Gateways

REGIONS = Partition.of(Layout(128.0, 1))
SPEAK: dict[int, Any] = {}


def made(awaited: bool = True) -> Regions:
    return Regions(9, REGIONS, lambda entry: awaited)


def said(regions: Regions, tick: int = 1) -> list[Upward]:
    return regions.upward(tick, lambda region: (1, 5), SPEAK)


def places(*at_m: tuple[float, float]) -> tuple[Any, Any]:
    x, z = np.rint(np.array(at_m).T * GRID_PER_M).astype(np.int32)
    return x, z


def heard(region: int, entries: list[list[int]]) -> RegionDelta:
    delta = RegionDelta(region, 1, 1, 1)
    delta.heard = entries
    return delta


def test_regions_that_views_touch_are_mirrored_and_others_are_left_after_a_while() -> None:
    regions = made()
    assert regions.look(*places((-50.0, -50.0)), 10.0, 0.0) == []
    first = said(regions)
    assert [(m.region, m.subscribe) for m in first] == [(4, True)]
    regions.look(*places((-50.0, -50.0), (40.0, 50.0)), 10.0, 1.0)
    assert [(m.region, m.subscribe) for m in said(regions)] == [(4, False), (7, True)]
    assert regions.look(*places((40.0, 50.0)), 10.0, 1.0 + LINGER_S + 0.1) == [4]
    assert [(m.region, m.unsubscribe) for m in said(regions)] == [(4, True), (7, False)]
    assert [m.region for m in said(regions)] == [7]


def test_who_stands_at_a_corner_sees_four_regions() -> None:
    assert touched(REGIONS, np.zeros(1), np.zeros(1), 10.0) == [4, 5, 6, 7]


def test_what_a_region_has_not_had_is_said_again() -> None:
    regions = made()
    regions.want(4, 0.0)
    regions.link(4).attach.append([1, 1, "a", 1, "desktop", 0])
    regions.link(4).detach.append([2, 1, True, 0])
    lost = said(regions, 1)[0]
    for tick in (2, 3):
        said(regions, tick)
    region = Gateways()
    region.subscribe(region.fresh([Upward(9, 2, 2, 4, subscribe=True), Upward(9, 3, 3, 4)], 3))
    regions.heard(heard(4, region.heard()), 1.0)
    again = said(regions, 4)[0]
    assert (again.attach, again.detach) == (lost.attach, lost.detach)
    region.fresh([again, Upward(9, 5, 5, 4), Upward(9, 6, 6, 4)], 6)
    regions.heard(heard(4, region.heard()), 1.0)
    assert not said(regions, 7)[0].attach
    assert not regions.link(4).waits


def test_an_attach_that_nobody_waits_for_is_not_said_again() -> None:
    regions = made(awaited=False)
    regions.want(4, 0.0)
    regions.link(4).attach.append([1, 1, "a", 1, "desktop", 0])
    said(regions)
    regions.heard(heard(4, [[9, 8, 0]]), 1.0)
    assert not regions.link(4).waits


def test_commands_of_a_lost_message_name_their_connections() -> None:
    regions = made()
    regions.want(4, 0.0)
    one = np.ones(1, np.uint32)
    regions.upward(1, lambda region: (1, 1), {4: (one, one, one, np.zeros(1), np.array([6], np.uint32))})
    assert regions.heard(heard(4, [[9, 3, 0b011]]), 1.0) == {6}
    assert regions.heard(heard(4, [[9, 3, 0b011]]), 1.0) == set()


def test_silence_and_gaps_ask_anew_but_not_all_the_time() -> None:
    regions = made()
    regions.want(4, 0.0)
    said(regions)
    regions.gap(4, ASK_AGAIN_S / 2)
    assert not said(regions)[0].subscribe
    regions.gap(4, ASK_AGAIN_S)
    assert said(regions)[0].subscribe
    regions.silence(ASK_AGAIN_S + SILENT_S / 2)
    assert not said(regions)[0].subscribe
    regions.silence(ASK_AGAIN_S + SILENT_S)
    assert said(regions)[0].subscribe


def test_what_is_kept_is_bounded() -> None:
    regions = made()
    for tick in range(3 * SENT_MAX):
        regions.link(4).detach.append([tick, 1, True, 0])
        said(regions, tick)
    link = regions.link(4)
    assert len(link.sent) == SENT_MAX
    kept = {entry[0] for sent in link.sent for entry in sent.detach} | {entry[0] for entry in link.detach}
    assert kept == set(range(3 * SENT_MAX)), "and nobody who left is forgotten"
