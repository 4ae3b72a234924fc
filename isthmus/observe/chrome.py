"""A recording of ticks as a trace that Perfetto (https://ui.perfetto.dev) and chrome://tracing open: the JSON of the
"Trace Event Format".

A pure function of what was recorded. Decides the tracks: ticks, phases (with their region), collections of garbage,
and a chart for each figure. Times are microseconds of Unix time, so recordings of several processes lie side by side
in one file. Not responsible for: what is recorded (``ticks``).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from isthmus.observe.ticks import Phase, Ticked

TICKS, PHASES, COLLECTIONS = 1, 2, 3
"""Tracks, by the number of a thread."""
_TRACKS = {TICKS: "ticks", PHASES: "phases", COLLECTIONS: "garbage collection"}
Event = dict[str, Any]


def events(
    process: str,
    pid: int,
    unix_s: float,
    names: Sequence[str],
    ticks: Iterable[Ticked],
    phases: Iterable[Phase],
    pauses: Iterable[tuple[float, float, int]],
) -> list[Event]:
    """All events of one process. ``unix_s``: what to add to a time of the monotonic clock to have Unix time."""
    named: list[Event] = [_meta("process_name", pid, 0, process)]
    named += [_meta("thread_name", pid, track, name) for track, name in _TRACKS.items()]

    def slice_of(track: int, name: str, begin_s: float, end_s: float, facts: dict[str, Any]) -> Event:
        at_us, for_us = 1e6 * (begin_s + unix_s), 1e6 * (end_s - begin_s)
        return {"ph": "X", "pid": pid, "tid": track, "name": name, "ts": at_us, "dur": for_us, "args": facts}

    out: list[Event] = []
    before: Ticked | None = None
    for tick in ticks:
        facts = {
            "tick": tick.tick,
            "ticks": tick.ticks,
            "late_ms": round(1e3 * (tick.begun_s - tick.planned_s), 3),
            "shed_level": tick.level,
        }
        out.append(slice_of(TICKS, f"tick {tick.tick}", tick.begun_s, tick.ended_s, facts))
        for k, name in enumerate(names):
            value = tick.counted[k]
            if name.endswith("_total"):  # a total says little: what it grew by in this tick
                if before is None:
                    continue
                value -= before.counted[k]
            chart = name.removesuffix("_total")
            at_us = 1e6 * (tick.ended_s + unix_s)
            out.append({"ph": "C", "pid": pid, "name": chart, "ts": at_us, "args": {chart: value}})
        before = tick
    for phase in phases:
        facts = {"region": phase.region} if phase.region else {}
        out.append(slice_of(PHASES, phase.name, phase.begin_s, phase.end_s, facts))
    for begin_s, end_s, generation in pauses:
        out.append(slice_of(COLLECTIONS, f"gc {generation}", begin_s, end_s, {}))
    return named + sorted(out, key=lambda event: event["ts"])


def _meta(what: str, pid: int, tid: int, name: str) -> Event:
    return {"ph": "M", "pid": pid, "tid": tid, "name": what, "args": {"name": name}}
