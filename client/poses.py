"""A client's own head and hands on their way out, and others' as they were told (STANDARD.md §11).

Decides when a POSE is said: in the rhythm of inputs, at most every POSE_EVERY_MS, with the newest samples, oldest
first. Invariant: nothing older than one message's worth is kept; a lost POSE is not said again. Not responsible for:
connections (``core``), tracking.
"""

from collections import deque
from dataclasses import replace

from protocol.frames import Records, Structure
from protocol.messages import Pose
from protocol.pose_layout import BACK_MS_MAX, SAMPLES_MAX
from protocol.poses import HeldPose, PoseRecords, Poses, Sample, encode_samples

POSE_EVERY_MS = 50.0
U32 = 0xFFFFFFFF


class ClientPoses:
    """Of one stream after the other."""

    def __init__(self) -> None:
        self._held = PoseRecords()
        self._samples: deque[tuple[float, Sample]] = deque(maxlen=SAMPLES_MAX)
        self._said_ms = -1e9

    # ------------------------------------------------------------------------------------------------------------ out
    def track(self, sample: Sample, now_ms: float) -> None:
        """Where head and hands are now; ``back_ms`` of the sample does not count."""
        self._samples.append((now_ms, sample))

    def say(self, now_ms: float) -> Pose | None:
        """What is to be said now, if anything."""
        if not self._samples or now_ms - self._said_ms < POSE_EVERY_MS:
            return None
        self._said_ms = now_ms
        recent = [
            replace(sample, back_ms=round(now_ms - at_ms))
            for at_ms, sample in self._samples
            if now_ms - at_ms <= BACK_MS_MAX
        ]
        self._samples.clear()
        return Pose(int(now_ms) & U32, encode_samples(recent)) if recent else None

    def due_ms(self) -> float | None:
        """When the next one is to be said; None while there is none."""
        return self._said_ms + POSE_EVERY_MS if self._samples else None

    # ------------------------------------------------------------------------------------------------------------- in
    def begin(self) -> None:
        """Another stream begins, or all entities are forgotten."""
        self._held.clear()

    def follow(self, structure: Structure) -> None:
        """Entities entered and left."""
        for number in structure.leave_number.tolist():
            self._held.left(number)
        for number in structure.enter_number.tolist():
            self._held.entered(number, structure.sseq)

    def told(self, message: Poses) -> None:
        """A POSES message."""
        self._held.apply(message)

    def of(self, records: Records) -> dict[int, HeldPose]:
        """By entity id: what is known of everybody's head and hands, relative to where they are shown."""
        return {int(records.id[number]): held for number, held in self._held.held.items()}
