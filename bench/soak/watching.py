"""Samples of everything that could grow: processes by /proc and by what they tell of themselves, etcd, PostgreSQL.

Gateways tell their figures at /metrics; shards and the placer log them every ten seconds, and those lines are read as
they come. Invariant: a process that is started again begins new series (``name#n``); what goes
from process to process is added up. Not responsible for: judging
(``series``).
"""

import asyncio
import json
import os
from base64 import b64encode
from collections import defaultdict
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from bench.served import parse_metrics
from bench.soak.cluster import SoakCluster
from cluster.records import REGIONS
from shard.durable.postgres import schema_name

Series = dict[tuple[str, str], list[tuple[float, float]]]
"""(who, figure) to (seconds, value), ascending."""
NAMESPACE = "/isthmus/bench-soak/"
EVERYTHING = {"key": "AA==", "range_end": "AA==", "count_only": True}
REGION_KEYS = {
    "key": b64encode(f"{NAMESPACE}{REGIONS}".encode()).decode(),
    "range_end": b64encode(f"{NAMESPACE}{REGIONS[:-1]}{chr(ord(REGIONS[-1]) + 1)}".encode()).decode(),
    "count_only": True,
}
ETCD_METRICS = {
    "etcd_mvcc_db_total_size_in_bytes": "etcd file MiB",
    "etcd_mvcc_db_total_size_in_use_in_bytes": "etcd file in use MiB",
    "etcd_debugging_mvcc_watcher_total": "etcd watchers",
}
_TABLES = ("ghosts", "bodies", "remembered", "tombstones", "sessions", "asked")
SUMMED = frozenset({"entities", "connections", *(f"held: {table}" for table in _TABLES)})
"""They go from process to process with regions and people: their sum is what must not grow."""
ROWS = {
    "rows: entity": "entity where gone_s = 0",
    "rows: tombstone": "entity where gone_s > 0",
    **{f"rows: {table}": table for table in ("pose", "action", "session", "region", "note")},
}
MIB = 1 << 20
SCHEMA = schema_name("bench-soak")


class Watching:
    """``run`` it beside the soak."""

    def __init__(self, cluster: SoakCluster, database: asyncpg.Connection, every_s: float) -> None:
        self.series: Series = defaultdict(list)
        self._cluster, self._database, self._every_s = cluster, database, every_s
        self._read = dict.fromkeys([*cluster.shards, "placer-0"], 0)
        self._lives: dict[str, list[int]] = defaultdict(list)
        """Process ids that a name has had, the last is the present one."""
        self._newest: dict[str, dict[str, float]] = defaultdict(dict)
        """By name: what its present life told last of figures that are added up."""

    async def run(self) -> None:
        """Until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self.sample(loop.time())
            await asyncio.sleep(self._every_s)

    async def sample(self, now_s: float) -> None:
        """All once."""
        for name in self._cluster.children.all:
            self.look(name, now_s)
            self._process(name, now_s)
        for name in self._cluster.gateways:
            await self._gateway(name, now_s)
        for figure, value in self.sums().items():
            self._put("all together", figure, now_s, value)
        await self._etcd(now_s)
        await self._postgres(now_s)

    def sums(self) -> dict[str, float]:
        """Figures that go from process to process, of all that live together."""
        found: dict[str, float] = defaultdict(float)
        for newest in self._newest.values():
            for figure, value in newest.items():
                found[figure] += value
        return dict(found)

    async def living(self) -> int:
        """Entities that are there, by the durable store."""
        return int(await self._database.fetchval(f'select count(*) from "{SCHEMA}".{ROWS["rows: entity"]}'))

    def _put(self, who: str, figure: str, now_s: float, value: float) -> None:
        self.series[who, figure].append((now_s, value))

    def look(self, name: str, now_s: float) -> None:
        """Notice another life, and read what the present one has logged."""
        pid, lives = self._cluster.pid(name), self._lives[name]
        is_other = pid is not None and (not lives or lives[-1] != pid)
        if is_other or pid is None:
            self._newest.pop(name, None)
        lines = self._logged(name) if name in self._read else []
        if is_other:
            assert pid is not None
            lives.append(pid)  # what was logged until now may be the former life's
            return
        for told in lines:
            self._figures(name, told, now_s)

    def _life(self, name: str) -> str:
        """A name for the process that runs now under a name."""
        return name if name == "etcd" else f"{name}#{len(self._lives[name])}"

    def _process(self, name: str, now_s: float) -> None:
        pid = self._cluster.pid(name)
        if pid is None:
            return
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        except (FileNotFoundError, ProcessLookupError):
            return  # it was killed a moment ago
        resident = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        if resident:  # a process that has ended and was not waited for has none
            self._put(self._life(name), "memory MiB", now_s, int(resident[0].split()[1]) / 1024)
            kind = "descriptors of a gateway" if name in self._cluster.gateways else "descriptors"
            self._put(self._life(name), kind, now_s, descriptors)

    def _logged(self, name: str) -> list[dict[str, Any]]:
        """Figures that were logged since the last time."""
        with self._cluster.log(name).open("rb") as log:
            log.seek(self._read[name])
            lines = log.read().splitlines(keepends=True)
        found = []
        for line in lines:
            if not line.endswith(b"\n"):
                break  # the rest of it comes later
            self._read[name] += len(line)
            if b'"event": "figures"' in line:
                found.append(json.loads(line))
        return found

    def _figures(self, name: str, told: dict[str, Any], now_s: float) -> None:
        who = self._life(name)
        self._put(who, "tasks", now_s, told["asyncio_tasks"])
        self._put(who, "memory blocks", now_s, told["memory_blocks"])
        self._put(who, "link bytes waiting", now_s, told["link_waiting_bytes"])
        tables = {f"held: {table}": count for table, count in told["held"].items()}
        self._tables(
            name, tables | ({"entities": told["simulated_entities"]} if "simulated_entities" in told else {}), now_s
        )

    def _tables(self, name: str, tables: dict[str, float], now_s: float) -> None:
        for figure, value in tables.items():
            if figure in SUMMED:
                self._newest[name][figure] = value
            else:
                self._put(self._life(name), figure, now_s, value)

    async def _gateway(self, name: str, now_s: float) -> None:
        if self._cluster.pid(name) is None:
            return
        try:
            async with self._cluster.session.get(f"{self._cluster.urls[name]}/metrics") as answer:
                samples = parse_metrics(await answer.text())
        except (aiohttp.ClientError, OSError):
            return  # it was killed, or has not begun to listen
        life = self._life(name)
        self._put(life, "tasks of a gateway", now_s, samples["isthmus_asyncio_tasks", ""])
        self._put(life, "memory blocks", now_s, samples["isthmus_memory_blocks", ""])
        self._put(life, "link bytes waiting", now_s, samples["isthmus_link_waiting_bytes", ""])
        tables = {
            f"held: {label.partition('=')[2].strip(chr(34))}": value
            for (metric, label), value in samples.items()
            if metric == "isthmus_held"
        }
        self._tables(name, {"connections": samples["isthmus_connections", ""], **tables}, now_s)

    async def _etcd(self, now_s: float) -> None:
        endpoint, session = self._cluster.etcd.endpoint, self._cluster.session
        async with session.post(f"{endpoint}/v3/kv/range", json=EVERYTHING) as answer:
            keys = float((await answer.json(content_type=None)).get("count", 0))
        async with session.post(f"{endpoint}/v3/kv/range", json=REGION_KEYS) as answer:
            regions = float((await answer.json(content_type=None)).get("count", 0))
        self._put("etcd", "etcd keys of regions", now_s, regions)
        self._put("etcd", "etcd keys", now_s, keys - regions)
        async with session.post(f"{endpoint}/v3/lease/leases", json={}) as answer:
            leases = (await answer.json(content_type=None)).get("leases", [])
            self._put("etcd", "etcd leases", now_s, float(len(leases)))
        async with session.get(f"{endpoint}/metrics") as answer:
            samples = parse_metrics(await answer.text())
        for metric, figure in ETCD_METRICS.items():
            value = samples[metric, ""]
            self._put("etcd", figure, now_s, value / MIB if figure.endswith("MiB") else value)

    async def _postgres(self, now_s: float) -> None:
        connections = await self._database.fetchval(
            "select count(*) from pg_stat_activity where backend_type = 'client backend'"
        )
        self._put("postgresql", "connections", now_s, float(connections))
        for figure, what in ROWS.items():
            rows = await self._database.fetchval(f'select count(*) from "{SCHEMA}".{what}')
            self._put("postgresql", figure, now_s, float(rows))
        size = await self._database.fetchval("select pg_database_size(current_database())")
        self._put("postgresql", "database MiB", now_s, float(size) / MIB)
