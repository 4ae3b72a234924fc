"""The path of TLS connections: copies between asyncio's transport and the areas of the others.

Decides how much may wait in asyncio. Costs Python for each such connection and tick; a proxy that ends TLS is the way
for thousands. Not responsible for: the table of connections (``carriers``).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.wsparse import STATE_OPEN
from server.transport.link import Link
from server.transport.syscalls import S_AGAIN, S_BYTES, S_CALLS

_BUFFER_BYTES = 16_384
"""What may wait in asyncio's own write buffer; the rest waits in our area and shows as blocked."""


def take(link: Link, row: Any, area: npt.NDArray[np.uint8]) -> int:
    """Copy decrypted bytes into a receive area; what has no room waits for the next poll. Returns how many came."""
    if row["state"] != STATE_OPEN:
        link.pending.clear()
        return 0
    fill = int(row["rx_fill"])
    taken = link.take(len(area) - fill)
    area[fill : fill + len(taken)] = np.frombuffer(taken, np.uint8)
    row["rx_fill"] = fill + len(taken)
    row["rx_bytes"] += len(taken)
    return len(taken)


def send(
    conn: int,
    link: Link,
    columns: Any,
    tx: npt.NDArray[np.uint8],
    blocked: npt.NDArray[np.uint8],
    counts: npt.NDArray[np.int64],
) -> None:
    """Hand what waits for a connection to its transport, unless that has too much already."""
    row = columns[conn]
    fill = int(row["tx_fill"])
    if fill == 0 or link.aborted:
        return
    if link.waiting_bytes() > _BUFFER_BYTES:
        blocked[conn] = 1
        counts[S_AGAIN] += 1
        return
    link.write(tx[conn, :fill].tobytes())
    row["tx_fill"] = 0
    row["tx_bytes"] += fill
    blocked[conn] = 0
    counts[S_BYTES] += fill
    counts[S_CALLS] += 1
