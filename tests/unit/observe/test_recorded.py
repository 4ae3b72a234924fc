"""What a process keeps of its last ticks, and how that looks as a trace."""

import gc
import json
from itertools import pairwise

import pytest

from isthmus.observe import chrome
from isthmus.observe.ticks import EVENTS, TICKS, Phase, PhaseClock, Recorder, Ticked


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time stands still but for what a test says."""
    now = [100.0]
    monkeypatch.setattr("isthmus.observe.ticks.time.monotonic", lambda: now[0])
    return now


def test_phases_are_added_up_and_kept_with_their_regions(clock: list[float]) -> None:
    phases = PhaseClock()
    for name, region, lasts_s in (("ingest", 5, 1.0), ("publish", 5, 2.0), ("ingest", 6, 4.0)):
        phases.of_region(region)
        phases.begin(name)
        clock[0] += lasts_s
    phases.begin("")
    clock[0] += 50.0
    phases.of_region(0)
    phases.begin("members")
    assert phases.seconds == {"ingest": 5.0, "publish": 2.0}
    assert list(phases.recorded(0.0)) == [
        Phase("ingest", 5, 100.0, 101.0),
        Phase("publish", 5, 101.0, 103.0),
        Phase("ingest", 6, 103.0, 107.0),
    ]
    assert [phase.begin_s for phase in phases.recorded(102.0)] == [101.0, 103.0]


def test_an_end_without_a_beginning_is_nothing(clock: list[float]) -> None:
    phases = PhaseClock()
    for _ in range(3):
        phases.begin("")
    assert phases.seconds == {}
    assert list(phases.recorded(0.0)) == []


def test_rings_forget_the_oldest_alone(clock: list[float]) -> None:
    recorder = Recorder()
    for k in range(EVENTS + 100):
        clock[0] += 1.0
        recorder.phases.begin("a" if k % 2 else "b")
        if k < TICKS + 7:
            recorder.ticked(k, clock[0], clock[0], clock[0])
    kept = list(recorder.phases.recorded(0.0))
    assert len(kept) == EVENTS - 1
    assert all(before.end_s == after.begin_s for before, after in pairwise(kept))
    assert kept[-1].end_s == clock[0]
    assert [ticked.tick for ticked in recorder.recorded(0.0)] == list(range(7, TICKS + 7))


def test_collections_are_seen_while_they_are_watched() -> None:
    recorder = Recorder()
    gc.collect()
    assert recorder.pauses(0.0) == []
    recorder.watch_collections()
    try:
        gc.collect()
    finally:
        recorder.ignore_collections()
    gc.collect(0)
    (pause,) = recorder.pauses(0.0)
    assert pause[0] <= pause[1]
    assert pause[2] == 2


def test_a_trace_has_slices_on_unix_time_and_what_totals_grew_by() -> None:
    kept = [Ticked(7, 1, 0, 10.0, 10.01, 10.03, (3, 1000)), Ticked(9, 2, 1, 10.1, 10.2, 10.25, (4, 1500))]
    phases = [Phase("ingest", 21, 10.01, 10.02), Phase("send", 0, 10.02, 10.03)]
    told = chrome.events("shard-0", 42, 1e9, ("entities", "sent_bytes_total"), kept, phases, [(10.0, 10.001, 2)])
    told = json.loads(json.dumps(told))
    names = {event["args"]["name"] for event in told if event["ph"] == "M"}
    assert names == {"shard-0", "ticks", "phases", "garbage collection"}
    slices = {event["name"]: event for event in told if event["ph"] == "X"}
    late = slices["tick 9"]
    assert (late["tid"], late["ts"], late["dur"]) == (chrome.TICKS, pytest.approx(1e15 + 10.2e6), pytest.approx(5e4))
    assert late["args"] == {"tick": 9, "ticks": 2, "late_ms": 100.0, "shed_level": 1}
    assert slices["ingest"]["args"] == {"region": 21}
    assert slices["send"]["args"] == {}
    assert slices["gc 2"]["tid"] == chrome.COLLECTIONS
    counted = [(event["name"], event["args"]) for event in told if event["ph"] == "C"]
    assert counted == [
        ("entities", {"entities": 3}),
        ("entities", {"entities": 4}),
        ("sent_bytes", {"sent_bytes": 500}),
    ]
    times = [event["ts"] for event in told if event["ph"] != "M"]
    assert times == sorted(times)
