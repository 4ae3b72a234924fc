"""What all processes of a world must agree on: written to the store once, compared by everybody who comes later.

Not responsible for: options that each process may have for itself.
"""

import msgspec

from cluster.records import WORLD, RecordError, WorldRecord, read, write
from cluster.store.contract import KeyAbsent, Put, Store, Transaction


class WorldDiffers(Exception):
    """The store holds another world under this name; the text lists what differs."""


async def agree(store: Store, world: WorldRecord) -> WorldRecord:
    """The world's record: ``world`` if there is none, else the one that stands, whose time of tick 0 counts.

    Raises WorldDiffers, and what the store raises.
    """
    transaction = Transaction((KeyAbsent(WORLD),), (Put(WORLD, write(world)),))
    result = await store.transact(transaction)
    if result.ok:
        return world
    try:
        stands = read(WORLD, result.found[0].value, WorldRecord)
    except RecordError as error:
        raise WorldDiffers(f"the store holds something else than a world: {error}") from None
    told, known = msgspec.structs.asdict(world), msgspec.structs.asdict(stands)
    wrong = [
        f"{name} is {told[name]} here and {known[name]} there"
        for name in told
        if name != "start_unix_ms" and told[name] != known[name]
    ]
    if wrong:
        raise WorldDiffers(
            f"the store holds another world: {'; '.join(wrong)}. Give all processes of a world the same options, or "
            "this one a cluster.namespace of its own"
        )
    return stands
