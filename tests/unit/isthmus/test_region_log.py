"""What a shard's log tells of its regions: each way to begin and to cease, once."""

from collections.abc import Iterable

from structlog.testing import capture_logs

from isthmus.fleet.region_log import RegionLog


def told(log: RegionLog, epochs: dict[int, int], frozen: Iterable[int] = (), lost: Iterable[int] = ()) -> list[str]:
    """The entries after one look."""
    for region in lost:
        log.lost(region)
    with capture_logs() as entries:
        log.look(epochs, set(frozen))
        log.look(epochs, set(frozen))
    assert all(entry["at_s"] == 7.5 for entry in entries)
    return [f"{entry['event']} {entry['region']} {entry['epoch']}" for entry in entries]


def make() -> RegionLog:
    return RegionLog(lambda: 7.5)


def test_a_region_begins_is_renewed_and_lost() -> None:
    log = make()
    assert told(log, {}) == []
    assert told(log, {4: 1, 5: 1}) == ["region_begun 4 1", "region_begun 5 1"]
    assert told(log, {4: 2, 5: 1}) == ["region_renewed 4 2"]
    assert told(log, {5: 1}, lost=[4]) == ["region_lost 4 2"]
    assert told(log, {4: 5, 5: 1}) == ["region_begun 4 5"]


def test_a_region_moves_in_and_out() -> None:
    log = make()
    assert told(log, {4: 2}, frozen=[4]) == [], "it is not ours before the record is written"
    assert told(log, {4: 2}) == ["region_moved_in 4 2"]
    assert told(log, {4: 2}, frozen=[4]) == ["region_frozen 4 2"]
    assert told(log, {}) == ["region_moved_out 4 2"]


def test_moves_that_come_to_nothing() -> None:
    log = make()
    assert told(log, {4: 1}) == ["region_begun 4 1"]
    assert told(log, {4: 1}, frozen=[4]) == ["region_frozen 4 1"]
    assert told(log, {4: 1}) == ["region_kept 4 1"]
    assert told(log, {4: 1}, frozen=[4]) == ["region_frozen 4 1"]
    assert told(log, {}, lost=[4]) == ["region_lost 4 1"]
    assert told(log, {5: 3}, frozen=[5]) == []
    assert told(log, {}) == [], "it never was ours"
    assert told(log, {5: 4}) == ["region_begun 5 4"]


def test_a_region_that_is_lost_and_comes_back_by_a_move() -> None:
    log = make()
    told(log, {4: 1})
    assert told(log, {}, lost=[4]) == ["region_lost 4 1"]
    assert told(log, {4: 3}, frozen=[4]) == []
    assert told(log, {4: 3}) == ["region_moved_in 4 3"]
