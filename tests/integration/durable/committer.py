"""A process that commits in a loop and prints each batch that was acknowledged, for tests that kill it.

``python -m tests.integration.durable.committer URL``: batch n has entity n, the pose of second n and action n.
"""

import asyncio
import itertools
import sys

from shard.durable.contract import ActionRow, Batch, Loaded, PoseRow
from shard.durable.opening import open_durable
from tests.unit.shard.durable.contract_cases import WHOLE, WORLD, entity


def batch(n: int) -> Batch:
    """The nth."""
    poses = [PoseRow(WHOLE.first, n, b"%d" % n)]
    return Batch(1, 1, n, [entity(n, data=b"%d" % n * 20)], (), poses, [ActionRow(7, n, n, b"%d" % n)])


def check(loaded: Loaded, acknowledged: int) -> None:
    """All that was acknowledged is there, and what is there is whole batches."""
    last = len(loaded.entities)
    assert last >= acknowledged
    assert loaded.entities == [entity(n, data=b"%d" % n * 20) for n in range(1, last + 1)]
    assert (loaded.tick, loaded.damage) == (last, [])
    assert loaded.poses == [PoseRow(WHOLE.first, n, b"%d" % n) for n in range(max(1, last), last + 1)]
    assert loaded.actions == [ActionRow(7, n, n, b"%d" % n) for n in range(max(1, last - 63), last + 1)]


async def main(url: str) -> None:
    """Until it is killed."""
    store = await open_durable(url, WORLD)
    await store.fence(1, 1)
    for n in itertools.count(1):
        await store.commit(batch(n))
        sys.stdout.write(f"{n}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
