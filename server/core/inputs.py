"""Commands on their way from clients to the owners of their bodies.

Decides what is said once more: all that the owner of a body has not acknowledged, when the body has come to another
owner or a message got lost. Invariant: the commands of one connection leave in the order of their numbers. Not
responsible for: which row a command is for (``gateway``), when a message counts as lost (``regions``).
"""

import numpy as np
import numpy.typing as npt

from kernels.sparse import sparse_zeros
from protocol.layouts import COMMAND

RING = 128
"""Commands kept for each connection, a power of two: more than a client may have on their way."""
U32 = npt.NDArray[np.uint32]
Commands = npt.NDArray[np.void]


class Inputs:
    """All connections' commands. ``conn`` is in [0, ``capacity``)."""

    def __init__(self, capacity: int) -> None:
        self._seq = sparse_zeros((capacity, RING), np.uint32)
        self._kept = sparse_zeros((capacity, RING), COMMAND)
        self._newest = np.zeros(capacity, np.uint32)
        self._again: set[int] = set()
        self._new: list[tuple[U32, U32, Commands]] = []

    def begin(self, conn: int) -> None:
        """A new stream: nothing of the one before is kept."""
        self._seq[conn] = 0
        self._newest[conn] = 0
        self._again.discard(conn)

    def take(self, conn: U32, seq: U32, commands: Commands) -> None:
        """Commands (COMMAND[n]) as they arrived, with connection and number of each."""
        if not len(conn):
            return
        self._new.append((conn, seq, commands))
        slot = seq & np.uint32(RING - 1)
        self._seq[conn, slot] = seq
        self._kept[conn, slot] = commands
        # A number that is older than one before (a client that repeats itself) must not hide newer ones.
        ahead = (seq - self._newest[conn]).astype(np.int32) > 0
        self._newest[conn[ahead]] = seq[ahead]

    def again(self, conn: int) -> None:
        """All that is not acknowledged is said once more with the next messages."""
        self._again.add(conn)

    def drain(self, acknowledged: U32) -> tuple[U32, U32, Commands]:
        """What is to be sent now: connection, number and command of each; ``acknowledged`` (uint32[capacity]): newest
        number that the body's owner has applied."""
        new, self._new = self._new, []
        if not new and not self._again:
            return np.zeros(0, np.uint32), np.zeros(0, np.uint32), np.zeros(0, COMMAND)
        parts = [self._unacknowledged(conn, acknowledged) for conn in sorted(self._again)]
        if parts:  # these hold what is new of the same connections, too
            said = np.array(sorted(self._again), np.uint32)
            self._again.clear()
            for conn, seq, commands in new:
                other = ~np.isin(conn, said)
                parts.append((conn[other], seq[other], commands[other]))
        else:
            parts = new
        if len(parts) == 1:
            return parts[0]
        return (
            np.concatenate([conn for conn, _, _ in parts]),
            np.concatenate([seq for _, seq, _ in parts]),
            np.concatenate([commands for _, _, commands in parts]),
        )

    def _unacknowledged(self, conn: int, acknowledged: U32) -> tuple[U32, U32, Commands]:
        newest, acked = int(self._newest[conn]), int(acknowledged[conn])
        count = min((newest - acked) & 0xFFFFFFFF, RING)
        if count >= 1 << 31:
            count = 0
        seq = (newest - np.arange(count - 1, -1, -1, dtype=np.int64)).astype(np.uint32)
        slot = seq & np.uint32(RING - 1)
        kept = self._seq[conn, slot] == seq
        return np.full(int(kept.sum()), conn, np.uint32), seq[kept], self._kept[conn, slot[kept]]
