"""Where a store of each engine is: clients of it, and plain SQL for what no client does (damage, old versions)."""

import re
import sqlite3
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path

import asyncpg

from shard.durable import schema
from shard.durable.contract import Durable, Limits, WorldIdentity
from shard.durable.opening import open_durable
from shard.durable.postgres import TYPES as POSTGRES_TYPES
from shard.durable.postgres import schema_name
from shard.durable.sqlite import TYPES as SQLITE_TYPES
from tests.unit.shard.durable.contract_cases import WORLD

WORLDS = Path(__file__).parent / "worlds"


class EngineClients(ABC):
    """What both have in common."""

    types: schema.Types

    def __init__(self, url: str) -> None:
        self.url = url
        self._stores: list[Durable] = []

    async def open(self, limits: Limits | None = None, world: WorldIdentity = WORLD) -> Durable:
        """One more client."""
        store = await open_durable(self.url, world, limits=limits)
        self._stores.append(store)
        return store

    async def close(self) -> None:
        """All clients."""
        for store in self._stores:
            await store.close()

    @abstractmethod
    async def sql(self, *statements: str) -> None:
        """Behind everybody's back."""

    @abstractmethod
    def blob(self, data: bytes) -> str:
        """Bytes as a literal."""

    async def lay_down(self, name: str) -> None:
        """Make the store that a checked-in file describes."""
        text = re.sub(r"--.*", "", (WORLDS / name).read_text(encoding="utf-8"))
        text = re.sub(r"\{blob:([0-9a-f]*)\}", lambda found: self.blob(bytes.fromhex(found[1])), text)
        for word, kind in self.types.items():
            text = text.replace(f"{{{word}}}", kind)
        await self.sql(*(statement for statement in text.split(";") if statement.strip()))


class SqlitePlace(EngineClients):
    """A file."""

    types = SQLITE_TYPES

    def __init__(self, path: Path) -> None:
        super().__init__(f"sqlite:{path}")
        self.path = path

    async def clear(self) -> None:
        """It is a new one."""

    async def sql(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    def blob(self, data: bytes) -> str:
        return f"x'{data.hex()}'"


class PostgresPlace(EngineClients):
    """A schema."""

    types = POSTGRES_TYPES

    async def clear(self) -> None:
        """Forget what a test before has left."""
        await self.sql(f'DROP SCHEMA IF EXISTS "{schema_name(WORLD.name)}" CASCADE')

    async def sql(self, *statements: str) -> None:
        path = f'"{schema_name(WORLD.name)}"'
        connection = await asyncpg.connect(self.url, server_settings={"search_path": path})
        try:
            async with connection.transaction():
                for statement in statements:
                    await connection.execute(statement)
        finally:
            await connection.close()

    async def lay_down(self, name: str) -> None:
        await self.sql(f'CREATE SCHEMA "{schema_name(WORLD.name)}"')
        await super().lay_down(name)

    def blob(self, data: bytes) -> str:
        return f"'\\x{data.hex()}'::bytea"
