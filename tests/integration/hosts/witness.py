"""The program beside etcd that notes all that the store says: ``python -m tests.integration.hosts.witness WORLD OUT``.

Writes one line for each change: when, all regions with owner and epoch, all living members with their lease. It runs
on etcd's host, so no cut between hosts blinds it. Not responsible for: judging (``cluster``).
"""

import asyncio
import json
import sys
import time
from contextlib import aclosing
from pathlib import Path

import numpy as np

from cluster.book import Book
from isthmus.config import Config, load
from isthmus.fleet.setup import open_store


def line(book: Book) -> str:
    """What the store holds now."""
    regions = {region: [own.record.owner, own.record.epoch] for region, own in book.regions.items()}
    members = {name: member.lease for name, member in book.members.items()}
    alive = [region for region in regions if book.owner(region) is not None]
    return json.dumps({"at_s": time.monotonic(), "regions": regions, "owner_alive": alive, "members": members})


async def main(config: Config, out: Path) -> None:
    """Until it is killed."""
    store, book = open_store(config, np.random.default_rng()), Book()
    with out.open("w") as lines:
        async with aclosing(store.watch("")) as items:
            async for item in items:
                book.watched(item)
                lines.write(line(book) + "\n")
                lines.flush()


if __name__ == "__main__":
    configured = load(Path(sys.argv[1]).read_text(), sys.argv[1], {}, {})
    assert isinstance(configured, Config)
    asyncio.run(main(configured, Path(sys.argv[2])))
