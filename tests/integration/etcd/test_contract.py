"""The contract on real etcd, oldest and newest release that we test with."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from cluster.store.contract import Store
from cluster.store.etcd import EtcdStore
from tests.integration.etcd.clients import fresh_namespace, new_store, operating
from tests.integration.etcd.servers import Member
from tests.unit.cluster.store.contract_cases import StoreContract, World


class EtcdWorld:
    """A namespace of a running etcd."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._namespace = fresh_namespace()
        self.stores: list[EtcdStore] = []

    async def open(self) -> Store:
        store = new_store(self._url, namespace=self._namespace)
        self.stores.append(store)
        return store

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def compact(self, revision: int) -> None:
        async with operating(self._url) as operator:
            await operator.compact(revision)


class TestEtcdStore(StoreContract):
    @pytest.fixture
    async def world(self, member: Member) -> AsyncIterator[World]:
        world = EtcdWorld(member.url)
        yield world
        for store in world.stores:
            await store.close()
