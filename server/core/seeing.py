"""Which ticks a client can have shown when it acts: bounds for what it claims that it saw (``World.seen_by``).

Theory. What a client shows was sent to it, so no tick is newer than the newest one that was. What it shows when it says
something is what had come by then; from the moment at which that was sent to the one at which the word arrives a round
trip passes, and a client that interpolates shows it DELAY_MS later still. The round trip is measured from
acknowledgements (``kernels.pace``), as the least of some seconds, so one that comes late at times does not stretch it:
only who answers late always is thought to be farther away, loses pace by that, and gains nothing beyond RTT_MOST_MS.

Invariant: both bounds are of the moment at which the word came, however long it waits for its turn. Not responsible
for: what is done with a claim beyond them (``shard.behaviours.world``).
"""

from math import ceil

DELAY_MS = 100
"""By which a client may show things later than they come: two ticks of 20 Hz, to draw between two known places."""
MARGIN_MS = 150
"""For what varies from one message to the next: ticks at both ends, a queue, a datagram that had to be said again."""
RTT_UNKNOWN_MS = 250
"""Before anything was acknowledged."""
RTT_MOST_MS = 400
"""Around the Earth and back."""


def bounds(sent_tick: int, rtt_ms: int | None, tick_ms: float) -> tuple[int, int]:
    """(oldest, newest) tick that a client can have shown, if ``sent_tick`` was sent last. ``rtt_ms`` None: unknown."""
    rtt_ms = RTT_UNKNOWN_MS if rtt_ms is None else min(rtt_ms, RTT_MOST_MS)
    back = ceil((rtt_ms + DELAY_MS + MARGIN_MS) / tick_ms)
    return max(0, sent_tick - back), sent_tick
