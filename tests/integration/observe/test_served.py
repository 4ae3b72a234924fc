"""A world in one process as its operator sees it: figures, a recording, traces of inputs' whole lives."""

import json
import re
from pathlib import Path

from isthmus.observe.observed import CONTROL
from isthmus.observe.recording import record_ticks
from k8s.monitoring.reference import entries
from tests.integration.cluster.running import bots, until
from tests.integration.observe.collecting import OF_GATEWAY, OF_SHARD, collector
from tests.integration.server import serving, write_world


async def test_a_world_in_one_process_can_be_looked_into(tmp_path: Path) -> None:
    with collector() as (taking, url):
        toml = f'[durable]\nurl = "memory:"\n[tracing]\nendpoint = "{url}"\nsample_ratio = 1.0\n'
        toml += f'[observe]\ncontrol_path = "{tmp_path / "control"}"\n'
        world = write_world(tmp_path, toml, ducks=5)
        with serving(world) as server:
            crowd = bots(server.url, seed=1, count=2)
            try:
                until("inputs are traced", lambda: len(taking.whole()) >= 5)
            finally:
                crowd.terminate()
                crowd.wait(20)
            text = server.get("/metrics").decode()
            served = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
            assert served == {entry.name: entry.type for entry in entries() if "serve" in entry.of}
            assert server.metric("isthmus_behaviour_faults_total") == 0
            await record_ticks(tmp_path / "control", [], 10.0, tmp_path / "ticks.json")
    events = json.loads((tmp_path / "ticks.json").read_text())["traceEvents"]
    names = {event["name"] for event in events}
    assert {"receive", "ingest", "physics", "publish", "mirror", "encode", "send"} <= names
    for trace in taking.whole():
        assert {service for service, _, _ in trace.values()} == {"isthmus-serve"}
        (root,) = {trace[name][2].parent_span_id for name in (*OF_GATEWAY, *OF_SHARD)}
        assert root == trace["input"][2].span_id


def test_by_default_the_socket_is_beside_where_the_process_was_started(tmp_path: Path) -> None:
    world = write_world(tmp_path, '[durable]\nurl = "memory:"\n')
    world.write_text(world.read_text().replace('name = "test"', 'name = "socket of a test"'))
    path = tmp_path / CONTROL / "socket_of_a_test.sock"
    with serving(world):
        assert path.is_socket()
    assert not path.exists()
