"""The shell of the doctor that asks others: etcd, the durable store, the running cluster. Reads alone.

Decides how long is waited, and what of an error is told. Not responsible for: judging answers (``services``).
"""

import asyncio
import os
import sqlite3
import tempfile
import time
from contextlib import aclosing, closing
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import asyncpg
import msgspec
import numpy as np

from cluster.book import Book, Member
from cluster.records import GATEWAY, WORLD
from cluster.store.contract import StoreError
from cluster.store.etcd_config import EtcdConfig
from isthmus.config import Config
from isthmus.doctor.facts import ClusterFacts, DurableStore, Endpoint, Etcd, MemberFacts
from isthmus.durable import MEMORY, shown, url_of
from isthmus.fleet.agreed import differences
from isthmus.fleet.setup import SetupError, etcd_config, layout_of, open_store, world_record
from isthmus.worlds import WorldError, the_place
from shard.durable.postgres import schema_name

WAIT_S = 5.0


# --------------------------------------------------------------------------------------------------------------- etcd
async def etcd_of(config: Config) -> Etcd:
    """The coordination store."""
    try:
        reached = etcd_config(config)
        endpoints = await asyncio.gather(*(_endpoint(url, reached) for url in reached.endpoints))
        if all(endpoint.problem is not None for endpoint in endpoints):
            return Etcd(endpoints=tuple(endpoints))
        store = open_store(config, np.random.default_rng())
    except SetupError as problem:
        endpoints = [Endpoint(url=url, problem=str(problem)) for url in config.cluster.etcd_endpoints]
        return Etcd(endpoints=tuple(endpoints))
    try:
        await store.get(WORLD)
        begun_s = time.monotonic()
        await store.get(WORLD)
        return Etcd(endpoints=tuple(endpoints), read_s=time.monotonic() - begun_s)
    except StoreError as problem:
        return Etcd(endpoints=tuple(endpoints), problem=str(problem))
    finally:
        await store.close()


async def _endpoint(url: str, etcd: EtcdConfig) -> Endpoint:
    timeout = aiohttp.ClientTimeout(total=WAIT_S)
    connector = aiohttp.TCPConnector(ssl=etcd.ssl_context() or True)
    try:
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            asked = f"{url.rstrip('/')}/version"
            async with session.get(asked) as first:
                await first.read()
            begun_s = time.monotonic()
            async with session.get(asked) as answer:
                told, date = await answer.json(), answer.headers.get("Date")
            latency_s = time.monotonic() - begun_s
    except TimeoutError:
        return Endpoint(url=url, problem=f"no answer within {WAIT_S:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as problem:
        return Endpoint(url=url, problem=str(problem))
    # The header has whole seconds, rounded down: on average it is half a second behind.
    ahead_s = None if date is None else parsedate_to_datetime(date).timestamp() + 0.5 - time.time()
    found = str(told.get("etcdserver", "")) if isinstance(told, dict) else ""
    return Endpoint(url=url, version=found, latency_s=latency_s, ahead_s=ahead_s)


# ------------------------------------------------------------------------------------------------------------- cluster
async def cluster_of(config: Config) -> ClusterFacts:
    """Who runs now, and whose regions are whose."""
    store = open_store(config, np.random.default_rng())
    book = Book()
    try:
        async with asyncio.timeout(WAIT_S), aclosing(store.watch("")) as items:
            book.watched(await anext(items))
    except (StoreError, TimeoutError):
        return ClusterFacts()
    finally:
        await store.close()
    members = await asyncio.gather(*(_member(member) for member in book.members.values()))
    return ClusterFacts(
        members=tuple(sorted(members, key=lambda member: member.name)),
        regions=len(book.regions),
        orphans=tuple(sorted(region for region in book.regions if book.owner(region) is None)),
        claims=tuple(sorted({life[0] for life in book.claims if not book.is_alive(*life)})),
        placer=book.placer is not None,
        differs=await asyncio.to_thread(_differs, config, book),
    )


def _differs(config: Config, book: Book) -> tuple[str, ...]:
    if book.world is None:
        return ()
    try:
        return tuple(differences(world_record(config, layout_of(config, the_place(config))), book.world))
    except (SetupError, WorldError) as problem:
        return (str(problem),)


async def _member(member: Member) -> MemberFacts:
    record = member.record
    return MemberFacts(
        name=member.name,
        kind=record.kind,
        load=record.load,
        draining=record.draining,
        durable_away=record.durable_away,
        url=record.url,
        status=await _status(record.url) if record.kind == GATEWAY and record.url else None,
    )


async def _status(url: str) -> dict[str, Any] | None:
    try:
        timeout = aiohttp.ClientTimeout(total=WAIT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            async with session.get(f"{url.rstrip('/')}/api/status", ssl=False) as answer:
                return msgspec.json.decode(await answer.read(), type=dict[str, Any]) if answer.status == 200 else None
    except (aiohttp.ClientError, OSError, msgspec.MsgspecError):
        return None


# ------------------------------------------------------------------------------------------------------- durable store
async def durable_of(config: Config) -> DurableStore | None:
    """The durable store; None: the world is kept nowhere."""
    url = url_of(config)
    if url == MEMORY:
        return None
    if url.startswith("sqlite:"):
        return await asyncio.to_thread(_sqlite, Path(url.removeprefix("sqlite:")))
    return await _postgres(url, config.world.name)


def _sqlite(path: Path) -> DurableStore:
    store = DurableStore(shown=f"sqlite:{path}", kind="sqlite", server=f"SQLite {sqlite3.sqlite_version}")
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    found: int | None = None
    try:
        if path.exists():
            if not os.access(path, os.W_OK):
                return replace(store, problem=f"{path} cannot be written")
            with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=WAIT_S)) as base:
                found = int(base.execute("SELECT version FROM schema_version").fetchone()[0])
        begun_s = time.monotonic()
        with tempfile.NamedTemporaryFile(dir=folder) as probe:
            probe.write(bytes(4096))
            probe.flush()
            os.fsync(probe.fileno())
        flush_s = time.monotonic() - begun_s
    except (OSError, sqlite3.Error, TypeError) as problem:
        return replace(store, problem=f"{path}: {problem}")
    return replace(store, schema=found, latency_s=flush_s)


async def _postgres(url: str, world: str) -> DurableStore:
    store = DurableStore(shown=shown(url), kind="postgresql")
    try:
        async with asyncio.timeout(WAIT_S):
            base = await asyncpg.connect(url, timeout=WAIT_S)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
        return replace(store, problem=str(problem) or f"no answer within {WAIT_S:g} s")
    try:
        begun_s, asked_s = time.monotonic(), time.time()
        clock_s = float(await base.fetchval("SELECT extract(epoch FROM clock_timestamp())"))
        latency_s = time.monotonic() - begun_s
        table = f'"{schema_name(world)}".schema_version'
        found = None
        if await base.fetchval("SELECT to_regclass($1)", table) is not None:
            found = int(await base.fetchval(f"SELECT version FROM {table}"))
        used = int(await base.fetchval("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"))
        return replace(
            store,
            server=f"PostgreSQL {await base.fetchval('SHOW server_version')}",
            schema=found,
            read_only=bool(await base.fetchval("SELECT pg_is_in_recovery()")),
            latency_s=latency_s,
            ahead_s=clock_s - (asked_s + latency_s / 2),
            connections=(used, int(await base.fetchval("SHOW max_connections"))),
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
        return replace(store, problem=str(problem))
    finally:
        await base.close(timeout=WAIT_S)
