"""Who watches which channel, and how far each viewer is in its recording. Viewers are rows of columns, by connection.

Theory. A viewer is *waiting* for a keyframe, *starting* (pieces of a keyframe are on their way), or *playing*: the
entries from its cursor on are sent to it, each once and in order, up to the newest one less its delay. All who wait for
the same entry get the same slice of the recording. A viewer who is *blocked* is left out; who is left behind by more
than a second, or has more than IN_FLIGHT_S of frames unacknowledged, is waiting again: it gets nothing until it has
acknowledged everything and its socket is empty, and then a keyframe. So nobody ever applies an entry behind a gap.

Invariants: what is given out for a connection in one tick is at most what a carrier takes (FRAME_BYTES_MAX); nothing is
given to a blocked one; a slow viewer changes nothing for others; at most ``burst`` viewers of a channel are served in a
tick, those who are furthest behind first. Not responsible for: what is in a keyframe or an entry (``channels``),
sockets.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from protocol.messages import U32_MAX
from server.core.recording import Recording, StoredKeyframe
from server.core.views import Batch

IN_FLIGHT_S = 3.0
"""Televisions acknowledge once a second: three of these and a slow network."""
BURST_LEAST = 1024
"""So many are served at once whatever comes: a send takes some 6 µs, this a small part of a tick."""
COHORTS_MAX = 32
"""Keyframes that are on their way to viewers of one channel: each is memory as long as one of them does not read."""
NOBODY = -1
NONE, WAITING, STARTING, PLAYING = 0, 1, 2, 3

Conns = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]


@dataclass(slots=True)
class _Cohort:
    """Viewers who are given one keyframe; ``piece``: which of its pieces is next for each."""

    keyframe: StoredKeyframe
    conn: Conns
    piece: I64


class Audience:
    """Viewers of all channels of a gateway. ``conn`` is in [0, ``capacity``)."""

    def __init__(self, capacity: int, channels: int) -> None:
        self.present = np.zeros(capacity, np.bool_)
        """Whether a connection is a television's."""
        self.channel = np.full(capacity, NOBODY, np.int32)
        self.status = np.zeros(capacity, np.uint8)
        self.cursor = np.zeros(capacity, np.int64)
        self.delay = np.zeros(capacity, np.int64)
        """Entries behind the newest one."""
        self.sent = np.zeros(capacity, np.uint32)
        self.acked = np.zeros(capacity, np.uint32)
        self.lagged = 0
        """For metrics: how often a viewer fell behind."""
        self._members: list[Conns | None] = [None] * channels
        self._cohorts: list[list[_Cohort]] = [[] for _ in range(channels)]

    @property
    def count(self) -> int:
        """Televisions."""
        return int(np.count_nonzero(self.present))

    def enter(self, conn: int) -> None:
        """A television came; it watches nothing yet."""
        self.present[conn] = True
        self.channel[conn] = NOBODY

    def leave(self, conn: int) -> None:
        """It went."""
        self.join(conn, NOBODY, 0)
        self.present[conn] = False

    def join(self, conn: int, channel: int, delay: int) -> None:
        """From now on it watches ``channel`` (NOBODY: none), and waits for a keyframe ``delay`` entries ago."""
        before = int(self.channel[conn])
        if before != NOBODY:
            self._members[before] = None
            self._desert(before, conn)
        self.channel[conn] = channel
        self.status[conn] = NONE if channel == NOBODY else WAITING
        self.delay[conn] = delay
        # Frames of two channels are numbered apart: what was sent of the former one is not counted any more.
        self.sent[conn] = self.acked[conn] = 0
        if channel != NOBODY:
            self._members[channel] = None

    def _desert(self, channel: int, conn: int) -> None:
        for cohort in self._cohorts[channel]:
            kept = cohort.conn != conn
            if not kept.all():
                cohort.conn, cohort.piece = cohort.conn[kept], cohort.piece[kept]

    def members(self, channel: int) -> Conns:
        """int32[n], ascending: who watches it. Not to be written to."""
        found = self._members[channel]
        if found is None:
            found = self._members[channel] = np.flatnonzero(self.channel == channel).astype(np.int32)
        return found

    def acknowledged(self, conn: U32, frame: U32) -> None:
        """Televisions (uint32[n], some twice) acknowledge frames. One that was not sent is of another channel, which
        they have just left, and is nothing here: no number hangs on it."""
        ahead = (self.sent[conn] - frame).astype(np.int32)
        newer = (frame - self.acked[conn]).astype(np.int32)
        good = (ahead >= 0) & (newer > 0)
        self.acked[conn[good]] = frame[good]

    def begin_anew(self, channel: int) -> None:
        """All its viewers wait for a keyframe: what they hold means nothing any more."""
        mine = self.members(channel)
        self.status[mine] = WAITING
        self._cohorts[channel].clear()
        self.sent[mine] = self.acked[mine] = 0

    # ------------------------------------------------------------------------------------------------------- sending
    def wanted(self, channel: int, blocked: U8) -> Conns:
        """Viewers who can be given a keyframe now."""
        mine = self.members(channel)
        ready = (self.status[mine] == WAITING) & (blocked[mine] == 0) & (self.sent[mine] == self.acked[mine])
        found: Conns = mine[ready]
        return found

    def start(self, channel: int, conns: Conns, keyframe: StoredKeyframe, newest: int) -> None:
        """These get this keyframe, made or stored behind one of the recording's entries up to ``newest``."""
        cohorts = self._cohorts[channel]
        if len(cohorts) >= COHORTS_MAX:
            self.status[cohorts.pop(0).conn] = WAITING  # slower than all who came after them: they begin anew
        self.status[conns] = STARTING
        self.delay[conns] = newest - keyframe.after
        cohorts.append(_Cohort(keyframe, conns.copy(), np.zeros(len(conns), np.int64)))

    def keyframes(self, channel: int, blocked: U8) -> Iterator[Batch]:
        """The next piece of each keyframe that is on its way, one for each viewer that takes it."""
        for cohort in self._cohorts[channel]:
            ready = np.flatnonzero(blocked[cohort.conn] == 0)
            if not len(ready):
                continue
            conns, pieces, keyframe = cohort.conn[ready], cohort.piece[ready], cohort.keyframe
            yield Batch(keyframe.data, conns, keyframe.at[pieces], keyframe.length[pieces])
            cohort.piece[ready] += 1
            done = cohort.piece == len(keyframe.length)
            arrived = cohort.conn[done]
            self.status[arrived] = PLAYING
            self.cursor[arrived] = keyframe.after + 1
            self.sent[arrived] = keyframe.frame
            self.acked[arrived] = (keyframe.frame - 1) & U32_MAX  # what counts is what it is sent from here on
            cohort.conn, cohort.piece = cohort.conn[~done], cohort.piece[~done]
        self._cohorts[channel] = [cohort for cohort in self._cohorts[channel] if len(cohort.conn)]

    def entries(
        self, channel: int, recording: Recording, blocked: U8, entries_per_s: float, ticks_per_entry: int
    ) -> Batch | None:
        """What those get who play; None if nobody gets anything."""
        mine = self.members(channel)
        mine = mine[self.status[mine] == PLAYING]
        until = recording.newest - self.delay[mine]
        flight = (self.sent[mine] - self.acked[mine]).astype(np.int32)
        missing = until - self.cursor[mine] + 1
        lagging = (missing > ceil(entries_per_s)) | (flight > ceil(IN_FLIGHT_S * entries_per_s))
        lagging |= self.cursor[mine] < recording.oldest
        if lagging.any():
            self.status[mine[lagging]] = WAITING
            self.lagged += int(np.count_nonzero(lagging))
        open_now = (missing > 0) & ~lagging & (blocked[mine] == 0)
        served, until, missing = mine[open_now], until[open_now], missing[open_now]
        burst = max(BURST_LEAST, -(-len(mine) // ticks_per_entry))
        if len(served) > burst:
            first = np.argsort(-missing, kind="stable")[:burst]
            served, until = served[first], until[first]
        if not len(served):
            return None
        slices = recording.slices(self.cursor[served], until)
        self.cursor[served] = slices.after
        some = slices.length > 0
        told = served[some]
        self.sent[told] = recording.frame_of(slices.after[some] - 1)
        return Batch(recording.data, told, slices.at[some], slices.length[some])
