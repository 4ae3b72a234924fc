"""The two doors of a process: HTTP for Prometheus and Kubernetes, a socket for its operator alone."""

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from isthmus.config import Config
from isthmus.config.model import Observe
from isthmus.observe import observed
from isthmus.observe.observed import Observed
from isthmus.observe.recording import NotRecorded, record_flame, record_ticks, sockets


@asynccontextmanager
async def process(
    name: str, folder: Path, ready: bool = True, warnings: tuple[str, ...] = ()
) -> AsyncIterator[Observed]:
    config = replace(Config(), observe=Observe(listen="127.0.0.1:0", control_path=str(folder)))
    made = Observed(config, name, "shard")
    await made.open(lambda: ready, lambda: list(warnings))
    try:
        yield made
    finally:
        await made.close()


async def get(made: Observed, path: str, host: str = "10.1.2.3:9464") -> tuple[int, str]:
    assert made.address is not None
    async with aiohttp.ClientSession() as session:
        url = f"http://{made.address[0]}:{made.address[1]}{path}"
        async with session.get(url, headers={"Host": host}) as answer:
            return answer.status, await answer.text()


async def test_health_follows_the_ticks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with process("shard-0", tmp_path, warnings=("the durable store is away",)) as made:
        assert (await get(made, "/healthz"))[0] == 200, "it has just begun"
        status, text = await get(made, "/readyz")
        assert (status, json.loads(text)["warnings"]) == (200, ["the durable store is away"])
        monkeypatch.setattr(observed, "ALIVE_S", 0.0)
        assert (await get(made, "/healthz"))[0] == 503
    async with process("shard-0", tmp_path, ready=False) as made:
        assert (await get(made, "/readyz"))[0] == 503


async def test_metrics_tell_ticks_phases_and_the_process(tmp_path: Path) -> None:
    async with process("shard-0", tmp_path) as made:
        made.recorder.phases.begin("ingest")
        made.ticked(5, 10.0, 10.01, 10.04, ticks=2, level=1)
        _, text = await get(made, "/metrics")
    lines = text.splitlines()
    for line in ("isthmus_ticks_total 2.0", "isthmus_ticks_merged_total 1.0", "isthmus_shed_level 1.0"):
        assert line in lines
    assert any(line.startswith('isthmus_tick_phase_seconds_total{phase="ingest"}') for line in lines)
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
    assert 'isthmus_build_info{kind="shard"' in text
    assert "_created" not in text


async def test_the_socket_is_its_owners_alone_and_goes_with_the_process(tmp_path: Path) -> None:
    folder = tmp_path / "control"
    async with process("shard-0", folder):
        assert [path.name for path in folder.iterdir()] == ["shard-0.sock"]
        assert stat.S_IMODE((folder / "shard-0.sock").stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == []


async def test_a_process_without_room_for_its_socket_runs_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with process("shard-0", tmp_path / "file") as made:
        assert (await get(made, "/healthz"))[0] == 200


async def test_ticks_of_all_processes_lie_in_one_file(tmp_path: Path) -> None:
    async with process("shard-0", tmp_path) as one, process("gateway-0", tmp_path) as other:
        now_s = asyncio.get_running_loop().time()
        one.ticked(5, now_s, now_s, now_s + 0.01)
        other.ticked(6, now_s, now_s, now_s + 0.01)
        told = await record_ticks(tmp_path, [], 30.0, tmp_path / "ticks.json")
    assert "gateway-0, shard-0" in told
    events = json.loads((tmp_path / "ticks.json").read_text())["traceEvents"]
    assert {event["name"] for event in events if event["ph"] == "X"} >= {"tick 5", "tick 6"}
    assert {event["args"]["name"] for event in events if event["name"] == "process_name"} == {"shard-0", "gateway-0"}


async def test_a_flame_graph_of_a_running_process(tmp_path: Path) -> None:
    async with process("shard-0", tmp_path):
        for form, begins in ((".svg", "<svg "), (".txt", "MainThread;"), (".json", "{")):
            out = tmp_path / f"flame{form}"
            told = await record_flame(tmp_path, None, 0.2, 50.0, out, waiting=True)
            assert "shard-0: " in told
            text = out.read_text()
            assert begins in text
            assert "test_doors.py" in text or "base_events" in text or "selectors" in text


async def test_wrong_questions_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotRecorded, match="no process has a control socket"):
        sockets(tmp_path, [])
    async with process("shard-0", tmp_path), process("shard-1", tmp_path):
        with pytest.raises(NotRecorded, match="there are shard-0, shard-1"):
            sockets(tmp_path, ["shard-7"])
        with pytest.raises(NotRecorded, match="name one of shard-0, shard-1"):
            await record_flame(tmp_path, None, 1.0, 50.0, tmp_path / "flame.svg")
        with pytest.raises(NotRecorded, match="ending"):
            await record_flame(tmp_path, "shard-0", 1.0, 50.0, tmp_path / "flame.png")
        with pytest.raises(NotRecorded, match="at most 60"):
            await record_flame(tmp_path, "shard-0", 61.0, 50.0, tmp_path / "flame.svg")
        with pytest.raises(NotRecorded, match="finite"):
            await record_ticks(tmp_path, ["shard-0"], float("nan"), tmp_path / "ticks.json")
        first = asyncio.create_task(record_flame(tmp_path, "shard-0", 1.0, 50.0, tmp_path / "one.svg"))
        await asyncio.sleep(0.3)
        with pytest.raises(NotRecorded, match="already"):
            await record_flame(tmp_path, "shard-0", 0.1, 50.0, tmp_path / "other.svg")
        await first


async def test_what_was_killed_leaves_a_socket_that_says_so(tmp_path: Path) -> None:
    async with process("shard-0", tmp_path):
        os.link(tmp_path / "shard-0.sock", tmp_path / "dead.sock")
    with pytest.raises(NotRecorded, match="killed"):
        await record_ticks(tmp_path, ["dead"], 1.0, tmp_path / "ticks.json")
