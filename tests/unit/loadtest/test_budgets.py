"""Budgets: kept, missed, nothing measured; and runs that say nothing, whatever their figures."""

from dataclasses import replace
from pathlib import Path

from loadtest.budgets import Exit, judge
from loadtest.figures import LATE
from loadtest.reading import parse
from loadtest.report.content import Run, content
from loadtest.report.page import render
from loadtest.report.rows import server_rows, world_rows
from loadtest.report.writing import summary, write
from loadtest.tally import GENERATOR, Tally

SCENARIO = parse(
    """
title = "<b>Fair</b>"
world = "w.toml"
[ramp]
points = [[0, 0], [10, 4], [30, 4]]
judged_from_s = 10
[users.walker]
kind = "desktop"
share = 1
[users.screen]
kind = "tv"
share = 1
[users.pump]
kind = "machine"
share = 1
move = { how = "stand" }
acts = [{ name = "report", every_s = 1 }]
budgets = { act_p99_ms = 300 }
[budgets]
input_delay_p99_ms = 200
bytes_per_s = 1000
correction_p99_mm = 50
errors = 0
""",
    Path("/w/fair.toml"),
)
BEGAN, ENDED = 1000.0, 1030.0


def measured(delay_ms: float = 100.0, late_ms: float = 1.0) -> Tally:
    """A run in which all went well, but for the first ten seconds."""
    tally = Tally()
    for second in range(1000, 1030):
        early = second < 1010
        for entry in SCENARIO.users:
            cell = tally.cell(second, entry)
            cell.count("client_ms", 1000.0)
            cell.count("bytes_in", 5000.0 if early else 500.0)
        tally.cell(second, "walker").sample("input_delay_ms", 5000.0 if early else delay_ms)
        tally.cell(second, "pump").sample("act_ms", 30.0)
        tally.cell(second, GENERATOR).sample(LATE.name, late_ms)
    return tally


def test_a_run_within_its_budgets_is_kept() -> None:
    verdict = judge(SCENARIO, measured(), BEGAN, ENDED)
    assert verdict.exit is Exit.KEPT
    found = {(line.entry, line.budget) for line in verdict.lines}
    assert ("walker", "input_delay_p99_ms") in found
    assert ("screen", "input_delay_p99_ms") not in found  # a television says no inputs
    assert ("pump", "input_delay_p99_ms") not in found  # this one stands
    assert ("walker", "correction_p99_mm") in found  # none occurred, which is best
    assert ("pump", "act_p99_ms") in found
    assert ("walker", "act_p99_ms") not in found


def test_one_figure_over_its_budget_is_enough() -> None:
    verdict = judge(SCENARIO, measured(delay_ms=201.0), BEGAN, ENDED)
    assert verdict.exit is Exit.MISSED
    assert [(line.entry, line.budget) for line in verdict.lines if not line.kept] == [("walker", "input_delay_p99_ms")]


def test_an_error_in_the_judged_time_counts_and_an_earlier_one_does_not() -> None:
    tally = measured()
    tally.cell(1003, "walker").count("errors")
    assert judge(SCENARIO, tally, BEGAN, ENDED).exit is Exit.KEPT
    tally.cell(1020, "walker").count("errors")
    assert judge(SCENARIO, tally, BEGAN, ENDED).exit is Exit.MISSED


def test_without_a_warm_up_the_second_in_which_a_run_begins_counts() -> None:
    cold = replace(SCENARIO, ramp=replace(SCENARIO.ramp, judged_from_s=0.0))
    tally = measured()
    tally.cell(1000, "walker").sample("join_ms", 80.0)
    told = content(Run(cold, tally, {}, BEGAN + 0.9, ENDED, judge(cold, tally, BEGAN + 0.9, ENDED), []))
    assert [row["count"] for row in told["sampled"] if row["figure"] == "join_ms"] == [1]
    assert judge(SCENARIO, tally, BEGAN + 0.9, ENDED).exit is Exit.KEPT, "half a second of the warm-up was judged"


def test_what_was_not_measured_was_not_kept() -> None:
    tally = Tally()
    for second in range(1000, 1030):
        tally.cell(second, GENERATOR).sample(LATE.name, 1.0)
    verdict = judge(SCENARIO, tally, BEGAN, ENDED)
    assert verdict.exit is Exit.MISSED
    assert any(line.value is None and line.budget == "input_delay_p99_ms" for line in verdict.lines)


def test_a_late_generator_and_an_early_end_say_nothing_of_the_server() -> None:
    assert judge(SCENARIO, measured(late_ms=400.0), BEGAN, ENDED).exit is Exit.INVALID
    assert judge(SCENARIO, measured(), BEGAN, 1015.0).exit is Exit.INVALID
    assert judge(SCENARIO, Tally(), BEGAN, ENDED).exit is Exit.INVALID


def run_of(tally: Tally, verdict: bool = True) -> Run:
    server = {("CPU, cores", "shard-0"): [(1002.0, 0.5), (1004.0, 0.75)], ("regions", "<i>"): [(1002.0, 2.0)]}
    told = judge(SCENARIO, tally, BEGAN, ENDED) if verdict else None
    return Run(SCENARIO, tally, server, BEGAN, ENDED, told, ["a note"])


def test_the_report_says_the_same_in_json_and_html(tmp_path: Path) -> None:
    told = content(run_of(measured(delay_ms=201.0)))
    assert told["verdict"] == "missed"
    row = next(row for row in told["sampled"] if row["figure"] == "input_delay_ms")
    assert row["count"] == 20
    assert abs(row["p99"] - 201.0) < 3.0
    assert told["server"]["CPU, cores"]["shard-0"] == [[2.0, 0.5], [4.0, 0.75]]
    page = write(tmp_path / "report", told)
    text = page.read_text()
    assert "missed" in text
    assert "a note" in text
    assert "server: CPU, cores" in text
    assert "<b>Fair" not in text  # titles are escaped
    assert "<i>" not in text.replace('<i style="', "")
    assert "http" not in text.replace("http-equiv", "")  # nothing from elsewhere
    assert (tmp_path / "report" / "report.json").read_text().startswith("{")
    lines = summary(told, page)
    assert "MISSED walker" in lines
    assert lines.endswith("verdict: missed")


def test_a_run_that_is_not_over_is_told_so_far() -> None:
    told = content(run_of(measured(), verdict=False))
    assert told["verdict"] is None
    assert "not over yet" in render(told)


def test_a_run_that_has_just_begun_has_a_report() -> None:
    just = replace(run_of(Tally(), verdict=False), until_s=BEGAN)
    assert "Budgets" not in render(content(just))


def test_rows_of_the_page() -> None:
    rows = world_rows(run_of(measured()))
    assert {
        "entry": "pump",
        "figure": "act, ms",
        "p50": "30",
        "p99": "30",
        "p999": "30",
        "max": "30",
        "samples": "30",
    } in rows
    assert {"entry": "screen", "figure": "errors", "p50": "0"} in rows
    assert not any(row["entry"] == "screen" and row["figure"].startswith("corrections") for row in rows)
    assert {"figure": "CPU, cores", "who": "shard-0", "value": "0.75"} in server_rows(run_of(Tally()))
