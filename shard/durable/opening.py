"""Which engine a URL means. An engine is imported when a URL asks for it: one process needs no PostgreSQL client.

``sqlite:PATH`` (a file; relative to the working folder), ``postgresql://…`` (as libpq has them, several hosts
included), ``memory:`` (gone with its process). Not responsible for: trying again when a store is away.
"""

from collections.abc import Callable
from pathlib import Path

from shard.durable.contract import Durable, Incompatible, Limits, WorldIdentity
from shard.durable.model import DurableCore, MemoryDurable


async def open_durable(
    url: str,
    world: WorldIdentity,
    *,
    limits: Limits | None = None,
    clock: Callable[[], float] | None = None,
    make: bool = True,
) -> Durable:
    """The world's store, made if there is none (unless ``make`` is false) and brought to this program's version.

    Raises Incompatible for another world's store, a newer one, or a URL that means none; Away if it cannot be reached.
    ``clock``: seconds, in place of that of the machine or server; PostgreSQL always goes by its own.
    """
    kind, _, rest = url.partition(":")
    match kind:
        case "memory":
            return MemoryDurable(DurableCore(world, limits), clock)
        case "sqlite" if rest:
            from shard.durable.sqlite import SqliteDurable

            return await SqliteDurable.open(Path(rest), world, limits, clock, make=make)
        case "postgresql" | "postgres":
            from shard.durable.postgres import PostgresDurable

            return await PostgresDurable.open(url, world, limits, make=make)
        case _:
            raise Incompatible(f"{url!r} names no durable store: write sqlite:PATH, postgresql://… or memory:")
