"""Shards are killed while people act: what was answered stays done, in the bodies they had, among all the ducks."""

import asyncio
import os
import signal

from tests.integration.cluster.conftest import DUCKS
from tests.integration.cluster.running import Running
from tests.integration.cluster.test_acting import acting
from tests.integration.cluster.test_gateways import until


def entities(cluster: Running) -> int:
    """People and ducks that the first gateway mirrors."""
    return sum(int(count) for count in cluster.status(0)["kinds"].values())


def test_what_was_answered_survives_killed_shards(durable_cluster: Running) -> None:
    asyncio.run(_kill(durable_cluster))


async def _kill(cluster: Running) -> None:
    async with acting(*cluster.urls) as (everybody, all_go_on):
        whole = DUCKS + len(everybody)
        await until("all are there", lambda: entities(cluster) == whole)
        for shards in (("shard-0",), ("shard-1",), ("shard-0", "shard-1")):
            for name in shards:
                os.kill(cluster.pids()[name], signal.SIGKILL)
            await all_go_on(f"they go on when {' and '.join(shards)} were killed")
            await until("nobody is missing, and nobody is there twice", lambda: entities(cluster) == whole)
