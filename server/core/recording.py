"""The last minute of a channel: its stream as it was sent, and the keyframes within it.

An *entry* is everything that a channel's viewers are told in one of its ticks: bytes ready to be sent, WebSocket
headers included, possibly none. Entries are numbered from 0; those of the present and those of viewers who are behind
are the same bytes. Decides what is forgotten: the oldest entries, when there are more than ``entries`` or no room for a
new one, and keyframes whose next entry is forgotten. Invariants: an entry lies in one piece; ``bytes_max`` bounds all
entries and KEYFRAMES_MAX all keyframes. Not responsible for: who is where in it (``audience``).
"""

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from protocol.limits import FRAME_BYTES_MAX

KEYFRAMES_MAX = 64
I64 = npt.NDArray[np.int64]


class Slices(NamedTuple):
    """Of each reader: ``at``, ``length`` of what it is sent and ``after``, the entry that it will wait for then."""

    at: I64
    length: I64
    after: I64


class StoredKeyframe:
    """A keyframe behind entry ``after``, in pieces of whole messages that a carrier takes at once: piece k is
    ``data[at[k] : at[k] + length[k]]``. ``frame``: the stream's newest before it."""

    __slots__ = ("after", "at", "data", "frame", "length")

    def __init__(self, after: int, frame: int, messages: list[bytes]) -> None:
        """``messages`` with their headers, each of at most FRAME_BYTES_MAX."""
        self.after = after
        self.frame = frame
        self.data = np.frombuffer(bytearray(b"".join(messages)), np.uint8)
        lengths = [0]
        for message in messages:
            if lengths[-1] + len(message) > FRAME_BYTES_MAX:
                lengths.append(0)
            lengths[-1] += len(message)
        self.length = np.array(lengths, np.int64)
        self.at = np.cumsum(self.length) - self.length


class Recording:
    """One channel's, since it woke. ``entries``: how many are kept at most."""

    def __init__(self, entries: int, bytes_max: int) -> None:
        if bytes_max < FRAME_BYTES_MAX:
            raise ValueError(f"bytes_max must be at least {FRAME_BYTES_MAX}, one entry")
        self.data = np.zeros(bytes_max, np.uint8)
        self.entries = entries
        self.oldest = 0
        self.next = 0
        """The number of the entry that comes next."""
        self.keyframes: deque[StoredKeyframe] = deque(maxlen=KEYFRAMES_MAX)
        self._head = 0
        self._at = np.zeros(entries, np.int64)
        self._length = np.zeros(entries, np.int64)
        self._frame = np.zeros(entries, np.uint32)

    @property
    def newest(self) -> int:
        """The number of the newest entry; -1: there is none."""
        return self.next - 1

    def append(self, entry: bytes, frame: int) -> None:
        """The next entry; ``frame``: the number of the stream's newest FRAME. Raises ValueError if it is too large for
        what a carrier takes at once."""
        size = len(entry)
        if size > FRAME_BYTES_MAX:
            raise ValueError(f"an entry of {size} bytes; at most {FRAME_BYTES_MAX} can be sent at once")
        if self._head + size > len(self.data):
            self._forget_to(len(self.data))
            self._head = 0
        while self.next - self.oldest >= self.entries:
            self._forget()
        self._forget_to(self._head + size)
        slot = self.next % self.entries
        self._at[slot], self._length[slot], self._frame[slot] = self._head, size, frame
        self.data[self._head : self._head + size] = np.frombuffer(entry, np.uint8)
        self._head += size
        self.next += 1
        while self.keyframes and self.keyframes[0].after + 1 < self.oldest:
            self.keyframes.popleft()

    def _forget(self) -> None:
        self.oldest += 1

    def _forget_to(self, end: int) -> None:
        """Entries that lie in ``[head, end)`` are overwritten, and all older ones go before them."""
        while self.oldest < self.next:
            slot = self.oldest % self.entries
            at, size = int(self._at[slot]), int(self._length[slot])
            if not self._head <= at < end and not (size and self._head < at + size <= end):
                return
            self._forget()

    def frame_of(self, entries: I64) -> npt.NDArray[np.uint32]:
        """The number of the newest FRAME after each of these entries, which are kept."""
        frames: npt.NDArray[np.uint32] = self._frame[entries % self.entries]
        return frames

    def save(self, keyframe: StoredKeyframe) -> None:
        """Keep a keyframe for those who join in the past."""
        self.keyframes.append(keyframe)

    def keyframe_before(self, entry: int) -> StoredKeyframe | None:
        """The newest kept one from which ``entry`` is reached; the oldest if all are newer; None if there is none."""
        found = None
        for keyframe in self.keyframes:
            if found is not None and keyframe.after > entry:
                break
            found = keyframe
        return found

    def slices(self, cursors: I64, until: I64, bytes_max: int = FRAME_BYTES_MAX) -> Slices:
        """What readers get who wait for the kept entries ``cursors`` and may have those up to ``until``: as many whole
        entries as lie in one piece and within ``bytes_max``."""
        # Most wait for the same entry: one number for cursor and until, because sorting pairs costs ten times as much.
        keys, of = np.unique(cursors * self.entries + (until - cursors), return_inverse=True)
        parts = [self._slice(key // self.entries, key // self.entries + key % self.entries, bytes_max) for key in keys]
        at, length, after = np.array(parts, np.int64).reshape(-1, 3).T
        return Slices(at[of], length[of], after[of])

    def _slice(self, cursor: int, last: int, bytes_max: int) -> tuple[int, int, int]:
        first = int(self._at[cursor % self.entries])
        end, entry = first, cursor
        while entry <= last:
            slot = entry % self.entries
            at, size = int(self._at[slot]), int(self._length[slot])
            if at != end or (entry > cursor and at + size - first > bytes_max):
                break
            end = at + size
            entry += 1
        return first, end - first, entry
