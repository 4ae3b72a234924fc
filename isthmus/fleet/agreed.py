"""What all processes of a world must agree on: written to the store once, compared by everybody who comes later.

A coordination store that is new (or was lost) may meet a world that is older, in its durable store: then ticks go on
after the newest that is stored, and entity ids after the last, for neither may be given twice. Not responsible for:
options that each process may have for itself.
"""

from collections.abc import Awaitable, Callable

import msgspec

from cluster.member import ID_BLOCK
from cluster.records import IDS, WORLD, RecordError, WorldRecord, read, write
from cluster.store.contract import KeyAbsent, Put, Store, Transaction
from isthmus.durable import SoFar

BLOCKS_GAP = 64
"""Blocks of ids that may have been handed out and are not written down."""
GAP_S = 1
"""The world goes on so much later than it was stored: clocks of processes differ a little."""


class WorldDiffers(Exception):
    """The store holds another world under this name; the text lists what differs."""


async def agree(store: Store, world: WorldRecord, so_far: Callable[[], Awaitable[SoFar]]) -> WorldRecord:
    """The world's record: ``world`` if there is none, else the one that stands, whose time of tick 0 counts.

    ``so_far``: asked if there is none. Raises WorldDiffers, what the store raises and what ``so_far`` raises.
    """
    found = await store.get(WORLD)
    if found is None:
        before = await so_far()
        puts = [Put(WORLD, write(world))]
        if before.tick:
            gone_ms = (before.tick + GAP_S * world.rate_hz) * 1000 // world.rate_hz
            world = msgspec.structs.replace(world, start_unix_ms=world.start_unix_ms - gone_ms)
            first = before.next_id + BLOCKS_GAP * ID_BLOCK
            puts = [Put(WORLD, write(world)), Put(IDS, str(first).encode())]
        result = await store.transact(Transaction((KeyAbsent(WORLD),), tuple(puts)))
        if result.ok:
            return world
        found = result.found[0]
    try:
        stands = read(WORLD, found.value, WorldRecord)
    except RecordError as error:
        raise WorldDiffers(f"the store holds something else than a world: {error}") from None
    wrong = differences(world, stands)
    if wrong:
        raise WorldDiffers(
            f"the store holds another world: {'; '.join(wrong)}. Give all processes of a world the same options, or "
            "this one a cluster.namespace of its own"
        )
    return stands


def differences(world: WorldRecord, stands: WorldRecord) -> list[str]:
    """What one process says of the world that is not as it stands, in words."""
    told, known = msgspec.structs.asdict(world), msgspec.structs.asdict(stands)
    return [
        f"{name} is {told[name]} here and {known[name]} there"
        for name in told
        if name != "start_unix_ms" and told[name] != known[name]
    ]
