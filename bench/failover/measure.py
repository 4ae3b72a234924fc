"""What a client's record of its frames says of a fault: when it moved again, how old its pose came back, how long it
saw nothing.

Decides what the figures mean. *Moving again* (the design's words): the first frame in which the body moved by an input
sent after the fault. *Pose age*: the body comes back where it was some time before; that time, by the client's own
record of where it was. All times are seconds of one monotonic clock. Not responsible for: recording (``crowd``).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import hypot

KEPT_S = 120.0
MOVED_M = 0.05
"""A walk moves a body by three times that from frame to frame; less is what the grid and a restored rest make of it."""
PATH_S = 10.0
"""A body that comes back is looked for on so much of its path: less than a turn of the smallest circle."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it was applied: the newest own command that the server had taken, and where the body was."""

    at_s: float
    taken: int
    x: float
    z: float


@dataclass(slots=True)
class Track:
    """One client. ``frames`` in order; ``commands``: (time, number of the newest own command then), some a second;
    ``acts``: (sent, answered) of each act that was answered; ``losses``: when connections ended unplanned."""

    frames: list[Frame] = field(default_factory=list)
    commands: list[tuple[float, int]] = field(default_factory=list)
    acts: list[tuple[float, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def forget(self, now_s: float) -> None:
        """What is older than KEPT_S."""
        before_s = now_s - KEPT_S
        del self.frames[: bisect_left(self.frames, before_s, key=lambda frame: frame.at_s)]
        del self.commands[: bisect_left(self.commands, before_s, key=lambda one: one[0])]
        del self.acts[: bisect_left(self.acts, before_s, key=lambda one: one[1])]

    def since(self, at_s: float) -> Sequence[Frame]:
        """Frames after a time."""
        return self.frames[bisect_right(self.frames, at_s, key=lambda frame: frame.at_s) :]

    def story(self, fault_s: float, owner_s: float) -> str:
        """For people: where it was about these two moments."""
        some = [frame for frame in self.frames if fault_s - 1.0 <= frame.at_s <= owner_s + 1.0][::2]
        return " ".join(f"{frame.at_s - fault_s:.2f}:({frame.x:.1f},{frame.z:.1f})#{frame.taken}" for frame in some)

    def last_before(self, at_s: float) -> Frame | None:
        """The last frame until a time."""
        end = bisect_right(self.frames, at_s, key=lambda frame: frame.at_s)
        return self.frames[end - 1] if end else None


def moving_again_s(track: Track, fault_s: float) -> float | None:
    """From the fault to the first frame in which the body moved by an input sent after it; None: not yet."""
    first = bisect_left(track.commands, fault_s, key=lambda one: one[0])
    if first == len(track.commands):
        return None
    sent = track.commands[first][1]  # perhaps sent after the fault as well: later ones certainly were
    before = track.last_before(fault_s)
    for frame in track.since(fault_s):
        moved = before is not None and _apart_m(before, frame) > MOVED_M
        if moved and frame.taken > sent:
            return frame.at_s - fault_s
        before = frame
    return None


def pose_age_s(track: Track, owner_s: float) -> float | None:
    """How much older the pose was in which the body came back than the last one that was shown before; ``owner_s``:
    when its region had its next owner. None: it has not come back."""
    last = track.last_before(owner_s)
    if last is None:
        return None
    back = next((frame for frame in track.since(owner_s) if _apart_m(last, frame) > MOVED_M), None)
    if back is None:
        return None
    shown_s = _shown_first_s(track.frames, last)
    path = [frame for frame in track.frames if shown_s - PATH_S <= frame.at_s <= shown_s]
    return shown_s - min(path, key=lambda frame: (_apart_m(frame, back), -frame.at_s)).at_s


def gap_s(track: Track, from_s: float, to_s: float) -> float:
    """The longest time without a frame that overlaps [from_s, to_s]."""
    frames = [frame.at_s for frame in track.frames if from_s - 1.0 <= frame.at_s <= to_s + 1.0]
    return max((b - a for a, b in pairwise(frames) if b > from_s and a < to_s), default=to_s - from_s)


def still_s(track: Track, from_s: float, to_s: float) -> float:
    """The longest time in [from_s, to_s] in which no frame moved the body."""
    last, moved_s, longest_s = track.last_before(from_s), from_s, 0.0
    for frame in track.since(from_s):
        if frame.at_s > to_s:
            break
        if last is not None and _apart_m(last, frame) > MOVED_M:
            longest_s, moved_s = max(longest_s, frame.at_s - moved_s), frame.at_s
        last = frame
    return max(longest_s, to_s - moved_s)


def answer_s(track: Track, from_s: float, to_s: float) -> float:
    """The longest time that an act waited which was said then; 0: none was said."""
    return max((b - a for a, b in track.acts if from_s <= a <= to_s), default=0.0)


def _shown_first_s(frames: Sequence[Frame], last: Frame) -> float:
    """When the place of ``last`` was shown first: frames go on while nobody steps the body."""
    first = last
    for frame in reversed(frames[: bisect_right(frames, last.at_s, key=lambda frame: frame.at_s)]):
        if _apart_m(frame, last) > MOVED_M:
            break
        first = frame
    return first.at_s


def _apart_m(a: Frame, b: Frame) -> float:
    return hypot(a.x - b.x, a.z - b.z)
