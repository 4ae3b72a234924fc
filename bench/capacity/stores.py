"""What etcd and PostgreSQL can do on this disk, and what telling of each write costs etcd and who hears of it.

Servers of our own on the disk that holds ``folder`` (in memory they would be faster than any real one). Not
responsible for: what members ask of them (``cluster_rates``).
"""

import asyncio
import subprocess
import time
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import numpy as np

from bench.fleet import is_healthy, until
from bench.process import CLOCK_TICKS_PER_S
from cluster.records import SHARD, MemberRecord, write
from cluster.store.contract import Put, Transaction, WatchBatch
from cluster.store.etcd import EtcdStore
from cluster.store.etcd_config import EtcdConfig
from isthmus.fleet.etcd import EtcdServer, find, free_port
from shard.durable.contract import Batch, PoseRow, WorldIdentity
from shard.durable.opening import open_durable
from shard.durable.spans import span_of
from tests.integration.durable.servers import Server

WRITERS, WRITING_S = 32, 5.0
WATCHERS, NEWS = 40, 500
STORES, COMMITTING_S = 16, 5.0
STATISTICS_S = 1.5
WRITERS_AHEAD, CHUNK_BYTES = 4, 1 << 20
WORLD = WorldIdentity("capacity", 1, 4096.0, 6)


@dataclass(frozen=True, slots=True)
class StoreCosts:
    """See ``model.Costs`` and ``model.Limits``. ``hear_us``: CPU of who hears of one write."""

    etcd_puts: float
    etcd_put_us: float
    etcd_event_us: float
    hear_us: float
    commits: float
    wal_bytes: float


def _cpu_us(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_S * 1e6


async def _etcd(server: EtcdServer, pid: int) -> tuple[float, float, float, float]:
    """(writes/s, CPU of one write, of telling one watcher, of hearing of it)."""
    config = EtcdConfig(endpoints=(server.endpoint,), namespace="/capacity/")
    rng = np.random.default_rng(1)
    value = write(MemberRecord(SHARD, "10.0.0.1:4000", load=0.3, regions={4 + k: 0.1 for k in range(4)}))
    async with AsyncExitStack() as stack:

        async def client() -> EtcdStore:
            made = EtcdStore(config, clock=time.monotonic, jitter=rng.random)
            stack.push_async_callback(made.close)
            return made

        async def put(store: EtcdStore, key: str) -> None:
            await store.transact(Transaction((), (Put(key, value),)))

        writers, end_s, written = [await client() for _ in range(WRITERS)], time.monotonic() + WRITING_S, 0

        async def keep_writing(number: int) -> None:
            nonlocal written
            while time.monotonic() < end_s:
                await put(writers[number], f"member/m{number}")
                written += 1

        used_us, began_s = _cpu_us(pid), time.monotonic()
        await asyncio.gather(*(keep_writing(number) for number in range(WRITERS)))
        puts = written / (time.monotonic() - began_s)
        put_us = (_cpu_us(pid) - used_us) / written

        heard = 0

        async def hear(store: EtcdStore) -> None:
            nonlocal heard
            async with aclosing(store.watch("")) as items:
                async for item in items:
                    heard += isinstance(item, WatchBatch)

        async def news() -> tuple[float, float]:
            """CPU (of etcd, of this process) of NEWS writes one after the other."""
            nonlocal heard
            heard, etcd_us, own_s = 0, _cpu_us(pid), time.process_time()
            for k in range(NEWS):
                await put(writers[0], f"member/m{k % WRITERS}")
            return _cpu_us(pid) - etcd_us, (time.process_time() - own_s) * 1e6

        alone_etcd_us, alone_us = await news()
        watching = [asyncio.create_task(hear(await client())) for _ in range(WATCHERS)]
        await asyncio.sleep(1.0)  # their first listing is no news
        told_etcd_us, told_us = await news()
        while heard < 0.99 * NEWS * WATCHERS:  # several writes may come as one batch
            before = heard
            await asyncio.sleep(0.5)
            if heard == before:
                break
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    each = NEWS * WATCHERS
    return puts, put_us, max(0.0, told_etcd_us - alone_etcd_us) / each, max(0.0, told_us - alone_us) / each


async def _transactions(database: asyncpg.Connection) -> float:
    """So far, by the server's statistics; a connection tells its own at most once a second."""
    await asyncio.sleep(STATISTICS_S)
    return float(await database.fetchval("select sum(xact_commit)::float8 from pg_stat_database"))


async def _committed(server: Server, database: asyncpg.Connection) -> float:
    """Transactions/s while many shards commit as fast as they can; counted as ``rates`` counts them."""
    stores = [await open_durable(server.url, WORLD) for _ in range(STORES)]
    regions = [16 + k for k in range(STORES)]
    blob = bytes(range(256))
    for store, region in zip(stores, regions, strict=True):
        await store.fence(region, 1)
    before, end_s = await _transactions(database), time.monotonic() + COMMITTING_S

    async def keep_committing(number: int) -> None:
        store, region = stores[number], regions[number]
        leaf, tick = span_of(region, WORLD.leaf_level).first, 0
        while time.monotonic() < end_s:
            tick += 1
            await store.commit(Batch(region, 1, tick, [], (), [PoseRow(leaf, tick, blob)], ()))

    began_s = time.monotonic()
    await asyncio.gather(*(keep_committing(number) for number in range(STORES)))
    seconds = time.monotonic() - began_s
    done = await _transactions(database) - before
    for store in stores:
        await store.close()
    return done / seconds


async def _written_ahead(server: Server) -> float:
    """Bytes/s that the log takes, flushed at each megabyte, from a few connections that write nothing else."""
    connections = [await asyncpg.connect(server.url) for _ in range(WRITERS_AHEAD)]
    end_s, began_s, written = time.monotonic() + WRITING_S, time.monotonic(), 0

    async def keep_writing(connection: asyncpg.Connection) -> None:
        nonlocal written
        while time.monotonic() < end_s:
            await connection.execute(f"select pg_logical_emit_message(true, 'bench', repeat('x', {CHUNK_BYTES}))")
            written += CHUNK_BYTES

    await asyncio.gather(*(keep_writing(connection) for connection in connections))
    seconds = time.monotonic() - began_s
    for connection in connections:
        await connection.close()
    return written / seconds


async def _postgres(server: Server) -> tuple[float, float]:
    """(transactions/s, bytes/s written ahead)."""
    database = await asyncpg.connect(server.url)
    commits = await _committed(server, database)
    await database.close()
    return commits, await _written_ahead(server)


def measure(folder: Path, postgres: Server) -> StoreCosts:
    """All of them; some half a minute. Raises ChildFailed, EtcdMissingError."""
    etcd = EtcdServer(find(), folder / "etcd-alone", free_port(), free_port())
    with (folder / "etcd-alone.log").open("wb") as log:
        process = subprocess.Popen(etcd.command(), stdout=log, stderr=log)
    try:
        until("etcd to answer", lambda: is_healthy(etcd.endpoint))
        puts, put_us, event_us, hear_us = asyncio.run(_etcd(etcd, process.pid))
    finally:
        process.terminate()
        process.wait()
    commits, wal_bytes = asyncio.run(_postgres(postgres))
    return StoreCosts(puts, put_us, event_us, hear_us, commits, wal_bytes)
