"""Clients of the servers: our store, and plain gateway calls for what a store does not do (compaction, users)."""

import base64
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from cluster.store.etcd import EtcdStore
from cluster.store.etcd_config import EtcdConfig

_worlds = itertools.count(1)


def fresh_namespace() -> str:
    """One that no other test in this process uses."""
    return f"/isthmus/world-{next(_worlds)}/"


def new_store(*urls: str, **fields: Any) -> EtcdStore:
    """A store over these endpoints; the first one is used first."""
    fields.setdefault("namespace", fresh_namespace())
    config = EtcdConfig(endpoints=urls, **fields)
    rng = np.random.default_rng(7)
    draws = itertools.chain([0.0], iter(rng.random, None))  # the first draw is the endpoint to begin with
    return EtcdStore(config, clock=time.monotonic, jitter=lambda: float(next(draws)))


@asynccontextmanager
async def opened(*urls: str, **fields: Any) -> AsyncIterator[EtcdStore]:
    """The same, closed afterwards."""
    store = new_store(*urls, **fields)
    try:
        yield store
    finally:
        await store.close()


class Operator:
    """Administrative requests to one member."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session
        self._headers: dict[str, str] = {}

    async def ask(self, path: str, **message: Any) -> dict[str, Any]:
        async with self._session.post(f"{self._url}/v3/{path}", json=message, headers=self._headers) as response:
            text = await response.text()
            assert response.status == 200, f"{path}: {response.status} {text}"
            answer: dict[str, Any] = await response.json()
            return answer

    async def compact(self, revision: int) -> None:
        await self.ask("kv/compaction", revision=str(revision), physical=True)

    async def log_in(self, user: str, password: str) -> None:
        self._headers["Authorization"] = (await self.ask("auth/authenticate", name=user, password=password))["token"]

    async def enable_authentication(self, user: str, password: str, prefix: str) -> None:
        """A root, and a user who may read and write below ``prefix`` only."""
        await self.ask("auth/user/add", name="root", password="root-secret")
        await self.ask("auth/user/grant", user="root", role="root")
        await self.ask("auth/role/add", name="isthmus")
        start = prefix.encode()
        end = start[:-1] + bytes([start[-1] + 1])
        permission = {"permType": "READWRITE", "key": _base64(start), "range_end": _base64(end)}
        await self.ask("auth/role/grant", name="isthmus", perm=permission)
        await self.ask("auth/user/add", name=user, password=password)
        await self.ask("auth/user/grant", user=user, role="isthmus")
        await self.ask("auth/enable")
        await self.log_in("root", "root-secret")


@asynccontextmanager
async def operating(
    url: str, *, ca: Path | None = None, cert: Path | None = None, key: Path | None = None
) -> AsyncIterator[Operator]:
    """An operator of the server at this URL."""
    files = EtcdConfig(endpoints=(url,), namespace="/operator/", ca=ca, cert=cert, key=key)
    connector = aiohttp.TCPConnector(ssl=files.ssl_context() or True)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Operator(url, session)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
