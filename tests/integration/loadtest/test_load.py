"""Load runs against real servers: every kind of user over both transports, verdicts, workers, the page, a cluster."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.integration.server import REPOSITORY, Server, serving, write_world

LOCUSTFILE = REPOSITORY / "loadtest" / "locustfile.py"
WORLDS = REPOSITORY / "loadtest" / "worlds"
AREAS = """
inhabitants_count = 20
[gateway]
datagrams = true
datagrams_port = 0
[limits]
admission_load_ratio = 1.0
"""
SCENARIO = """
title = "For tests"
world = "{world}"
[ramp]
points = [[0, 0], [2, 8], [{until}, 8]]
[users.desktop]
kind = "desktop"
share = 2
[users.desktop_udp]
kind = "desktop"
share = 2
transport = "datagrams"
move = {{ how = "gather", radius_m = 20 }}
trouble = {{ loss = 0.02 }}
[users.headset]
kind = "headset"
share = 2
transport = "datagrams"
move = {{ how = "oscillate", radius_m = 10 }}
[users.tv]
kind = "tv"
share = 1
[users.pump]
kind = "{pump}"
share = 1
move = {{ how = "stand" }}
acts = [{{ name = "report", every_s = 0.5, payload = {{ reading = "$reading" }} }}]
[budgets]
input_delay_p50_ms = {delay_ms}
errors = 0
without_udp = 0.9
[generator]
late_p99_ms = 20000
"""
OWN = """
from loadtest.users import MachineUser


class Pump(MachineUser):
    abstract = True

    def heard(self, event):
        self.meter.cell.count(f"heard {type(event).__name__}")
"""


def scenario(folder: Path, world: Path, until_s: float = 7.0, delay_ms: float = 10_000, pump: str = "machine") -> Path:
    """A scenario's file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mine.toml"
    path.write_text(SCENARIO.format(world=world, until=until_s, delay_ms=delay_ms, pump=pump))
    return path


Launch = Callable[..., "subprocess.Popen[str]"]
WANTED = {("desktop", "input to frame, ms"), ("desktop", "bytes to a client, B/s")}
"""Entries and figures that the page must come to show."""


@pytest.fixture
def locust() -> Iterator[Launch]:
    """Starts locust against a running server, as a load tester does; the report lands beside the scenario."""
    started: list[subprocess.Popen[str]] = []

    def launch(path: Path, server: Server, *more: str) -> "subprocess.Popen[str]":
        line = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--scenario", str(path), "--host", server.url]
        line += ["--report", str(path.parent / "report"), "--only-summary", *more]
        run = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPOSITORY)
        started.append(run)
        return run

    yield launch
    for run in started:
        if run.poll() is None:  # the test has failed
            run.kill()
            run.communicate()


def told(path: Path) -> dict[str, Any]:
    """The report of a run."""
    return dict(json.loads((path.parent / "report" / "report.json").read_text()))


def sampled(report: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["entry"], row["figure"]): row for row in report["sampled"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world in which machines report."""
    folder = tmp_path_factory.mktemp("load")
    path = write_world(folder, AREAS)
    (folder / "plain.py").write_text((WORLDS / "plain.py").read_text())
    path.write_text(path.read_text().replace("extent_m = 128", 'extent_m = 512\nbehaviours = "plain.py"'))
    return path


@pytest.fixture(scope="module")
def server(world: Path) -> Iterator[Server]:
    with serving(world) as server:
        yield server


def test_every_kind_of_user_a_budget_that_nobody_keeps_and_a_server_that_is_not_there(
    server: Server, world: Path, tmp_path: Path, locust: Launch
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "own.py").write_text(OWN)
    kept = scenario(tmp_path / "kept", world, pump="own.py:Pump")
    missed = scenario(tmp_path / "missed", world, until_s=5.0, delay_ms=0.001)
    alone = scenario(tmp_path / "alone", world, until_s=4.0)
    nobody = Server("http://127.0.0.1:9", 0, tmp_path)
    runs = [locust(path, to, "--headless") for path, to in ((kept, server), (missed, server), (alone, nobody))]
    texts = [run.communicate(timeout=100)[0] for run in runs]
    assert runs[0].returncode == 0, texts[0]
    assert "verdict: kept" in texts[0]
    report = told(kept)
    figures = sampled(report)
    for entry in ("desktop", "desktop_udp", "headset"):
        for figure in ("join_ms", "input_delay_ms", "frame_gap_ms", "stale_ms"):
            assert figures[entry, figure]["count"] > 0, (entry, figure)
    assert figures["tv", "frame_gap_ms"]["count"] > 5
    assert figures["pump", "act_ms"]["count"] > 3
    rates = {row["entry"]: row for row in report["rates"]}
    assert rates["desktop_udp"]["without_udp"] < 0.5
    assert all(row["bytes_per_s"] > 0 and row["errors"] == 0 for row in rates.values())
    assert report["server"]["sessions"]["gateway"][-1][1] > 0
    assert "Traceback" not in texts[0]

    assert runs[1].returncode == 1, texts[1]
    assert "MISSED desktop" in texts[1]
    assert told(missed)["verdict"] == "missed"

    assert runs[2].returncode == 1, texts[2]
    assert "nothing measured" in texts[2]
    assert "gateway did not answer" in texts[2]


def test_the_page_shows_the_worlds_figures(server: Server, world: Path, tmp_path: Path, locust: Launch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = scenario(tmp_path, world, until_s=100.0)
    run = locust(path, server, "--web-host", "127.0.0.1", "--web-port", str(port), "--autostart")
    url, page, rows = f"http://127.0.0.1:{port}", "", set[tuple[str, str]]()
    extended: dict[str, list[dict[str, str]]] = {"world": [], "server": []}
    end_s = time.monotonic() + 60.0
    while time.monotonic() < end_s and run.poll() is None:
        try:
            page = page or urlopen(f"{url}/", timeout=5).read().decode()
            stats = json.loads(urlopen(f"{url}/stats/requests", timeout=5).read())
        except (URLError, ConnectionError):
            time.sleep(0.1)
            continue
        extended = {table["key"]: table["data"] for table in stats["extended_stats"]}
        rows = {(row["entry"], row["figure"]) for row in extended["world"]}
        if rows >= WANTED and extended["server"]:
            break
        time.sleep(0.1)
    assert rows >= WANTED
    assert '"extended_tabs"' in page
    assert "isthmus/report" in page
    assert "What clients saw" in urlopen(f"{url}/isthmus/report", timeout=5).read().decode()
    assert json.loads(urlopen(f"{url}/isthmus/report.json", timeout=5).read())["verdict"] is None
    run.terminate()
    text = run.communicate(timeout=60)[0]
    assert run.returncode == 2, text  # a run that was broken off says nothing, whatever it measured
    assert "the run ended after" in text


@pytest.mark.timeout(300)
def test_a_local_cluster_and_two_processes(world: Path, tmp_path: Path) -> None:
    path = scenario(tmp_path, world, until_s=15.0)
    line = [sys.executable, "-m", "loadtest", str(path), "--processes", "2", "--report", str(tmp_path / "report")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=280, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr
    report = told(path)
    figures = sampled(report)
    joins = sum(figures[entry, "join_ms"]["count"] for entry in ("desktop", "desktop_udp", "headset", "tv", "pump"))
    assert joins == 8  # of both workers, each once
    assert {"shard-0", "shard-1", "gateway-0", "etcd"} <= set(report["server"]["CPU, cores"])
    assert set(report["server"]["regions"]) == {"shard-0", "shard-1"}
    assert report["notes"] == []
    assert f"report: {tmp_path / 'report' / 'report.html'}" in done.stdout


def test_a_wrong_scenario_starts_nothing_and_says_why(world: Path, tmp_path: Path) -> None:
    path = scenario(tmp_path, world)
    path.write_text(path.read_text().replace("title", "titel"))
    ours, locusts = ["-m", "loadtest"], ["-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--scenario"]
    for line in (ours, locusts):
        command = [sys.executable, *line, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=REPOSITORY)
        assert done.returncode == 2
        assert "did you mean title?" in done.stderr
