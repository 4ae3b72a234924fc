"""How often a real cluster's members write: to etcd each, to PostgreSQL for each region; counted by the servers.

The soak's world (ducks that all move, over four regions) with few and with many ducks, without people and without
trouble: what is written then is written always. Not responsible for: what a write costs (``stores``).
"""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import asyncpg

from bench.served import parse_metrics
from bench.soak.cluster import SoakCluster
from tests.integration.durable.servers import Server

SHARDS, GATEWAYS, REGIONS = 3, 2, 4
MEMBERS = SHARDS + GATEWAYS + 1
FEW, MANY = 20, 1_000
SETTLE_S, COUNT_S = 10.0, 20.0
KEEPALIVES = "etcd_debugging_lease_renewed_total"
EVERYTHING = {"key": "AA==", "range_end": "AA==", "count_only": True}


@dataclass(frozen=True, slots=True)
class Rates:
    """See ``model.Costs``."""

    member_puts: float
    keepalives: float
    commits: float
    wal_commit_bytes: float
    wal_bytes: float


@dataclass(frozen=True, slots=True)
class _Counted:
    """Totals so far."""

    revision: int
    keepalives: float
    commits: float
    wal: float

    def since(self, before: "_Counted", seconds: float) -> tuple[float, float, float, float]:
        """A second."""
        return (
            (self.revision - before.revision) / seconds,
            (self.keepalives - before.keepalives) / seconds,
            (self.commits - before.commits) / seconds,
            (self.wal - before.wal) / seconds,
        )


async def _count(cluster: SoakCluster, database: asyncpg.Connection) -> _Counted:
    async with cluster.session.post(f"{cluster.etcd.endpoint}/v3/kv/range", json=EVERYTHING) as answer:
        revision = int((await answer.json(content_type=None))["header"]["revision"])
    async with cluster.session.get(f"{cluster.etcd.endpoint}/metrics") as answer:
        keepalives = parse_metrics(await answer.text())[KEEPALIVES, ""]
    commits = await database.fetchval("select sum(xact_commit)::float8 from pg_stat_database")
    wal = await database.fetchval("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8")
    return _Counted(revision, keepalives, float(commits), float(wal))


async def _run(folder: Path, url: str, ducks: int) -> tuple[float, float, float, float]:
    """A second: changes in etcd, keep-alives, transactions, bytes written ahead."""
    options = ("--world-inhabitants-count", str(ducks))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10.0)) as session:
        cluster = SoakCluster(folder, session, url, SHARDS, GATEWAYS, options)
        try:
            await cluster.start()
            await cluster.settled()
            await asyncio.sleep(SETTLE_S)
            database = await asyncpg.connect(url)
            loop = asyncio.get_running_loop()
            before, began_s = await _count(cluster, database), loop.time()
            await asyncio.sleep(COUNT_S)
            found = (await _count(cluster, database)).since(before, loop.time() - began_s)
            await database.close()
        finally:
            await cluster.children.end()
    return found


def measure(folder: Path, postgres: Server) -> Rates:
    """Both; two minutes. Raises SoakFailed, EtcdMissingError."""
    runs = []
    for ducks in (FEW, MANY):
        # Each world in a database of its own: the second must not begin with the first one's ducks.
        postgres.psql(f"create database ducks_{ducks}")
        url = re.sub(r"/postgres$", f"/ducks_{ducks}", postgres.url)
        own = folder / f"ducks-{ducks}"
        own.mkdir()
        runs.append(asyncio.run(_run(own, url, ducks)))
    (puts, keepalives, commits, few_bytes), (_, _, _, many_bytes) = runs
    per_duck = max(0.0, many_bytes - few_bytes) / (MANY - FEW)
    commit_bytes = max(0.0, few_bytes - FEW * per_duck) / commits
    return Rates(puts / MEMBERS, keepalives / MEMBERS, commits / REGIONS, commit_bytes, per_duck)
