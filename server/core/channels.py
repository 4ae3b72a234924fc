"""Channels: views with a directed camera, each encoded once, for any number of televisions (STANDARD.md §10).

A channel is a view of its own, beside those of connections. It *sleeps* until somebody watches it and for REST_S after
the last one went; asleep it has no view, no recording, and wants no region mirrored. In each of its ticks (``rate_hz``)
its camera looks, its view is encoded, and the bytes become an entry of its recording, from which all its viewers are
served (``audience``).

Why its numbers may be used again at once, without an acknowledgement: entries are applied in order, each by everybody
who plays, and whoever missed one begins anew with a keyframe, in which every number means what it means after that
entry. So between the leave of a number and its next enter in the stream no viewer can lack the leave. This holds for a
viewer a minute behind as well, who plays the same entries.

Invariants: each entry is counted by the same records as a client keeps; a change of schema makes all begin anew; of
one television a WATCH is carried out at most every WATCH_S. Not responsible for: who sees what (``kernels.interest``),
what a camera shows (``cameras``), sending.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.pace import WINDOW_LEAST_BYTES
from protocol import crowds
from protocol.channels import BEHIND_S_MAX, Channel, ChannelCode, Watch
from protocol.channels import Camera as CameraTold
from protocol.frames import Frame, Records, Structure, decode
from protocol.layouts import GRID_PER_M
from protocol.limits import FRAME_BYTES_MAX
from protocol.messages import U32_MAX, encode_server
from protocol.wsframe import frame
from server.core.audience import NOBODY, Audience
from server.core.cameras import Camera, ChannelSpec, Pose, director_of, make_camera
from server.core.keyframes import keyframe
from server.core.recording import Recording, StoredKeyframe
from server.core.sight import Sight
from server.core.views import Batch, Portion, ViewRules, Views

REST_S = 10.0
"""A channel nobody watches goes on so long: somebody who zaps comes back."""
OUTER_RADIUS_M = 20.0
"""Beyond this the outermost level is exact enough for a picture on a wall."""
KEYFRAME_S = 5.0
"""A keyframe is stored so often: who joins in the past begins at most so much earlier."""
WATCH_S = 0.5
"""A WATCH of 10 bytes is answered with a keyframe of up to some 50 KB."""
CHANNELS_MAX = 64
ENTRY_BYTES_MAX = FRAME_BYTES_MAX - 1024
"""Of a view in one entry; the rest is room for poses and headers."""
RECORDING_BYTES_MAX = 16 << 20
FIRST_STREAM = 2
"""1 is a session's own."""
_OTHER_VERSION = np.uint32(1 << 31)
Conns = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]


@dataclass(slots=True)
class Figures:
    """Of one channel since the start, for metrics: ``entries`` and ``keyframes`` encoded, ``sends`` and ``bytes`` to
    all viewers together."""

    entries: int = 0
    keyframes: int = 0
    sends: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class News:
    """Something for the log."""

    event: str
    facts: dict[str, Any] = field(default_factory=dict)


class _Awake:
    """What a channel has while it is awake."""

    def __init__(self, spec: ChannelSpec, every: int, rate_hz: int, tick: int, now_s: float) -> None:
        seconds = BEHIND_S_MAX + KEYFRAME_S
        entries = max(2, round(seconds * rate_hz / every))
        bytes_max = min(RECORDING_BYTES_MAX, max(4 * FRAME_BYTES_MAX, round(seconds * spec.bytes_per_s)))
        self.recording = Recording(entries, bytes_max)
        self._sizes = entries, bytes_max
        self.records = Records()
        self.camera: Camera = make_camera(spec, rate_hz)
        self.next_tick = tick
        self.watched_s = now_s
        self.stored_tick = tick
        self.tick = tick
        self.on = ""
        self.latest: StoredKeyframe | None = None

    def begin_anew(self) -> None:
        """Nothing that was told means anything any more."""
        self.recording = Recording(*self._sizes)
        self.records.clear()
        self.latest = None


class Channels:
    """All channels of a gateway. ``capacity``: connections; ``rate_hz``: ticks of the world in a second."""

    def __init__(self, specs: Sequence[ChannelSpec], capacity: int, rate_hz: int, hysteresis: float) -> None:
        if len(specs) > CHANNELS_MAX:
            raise ValueError(f"at most {CHANNELS_MAX} channels, not {len(specs)}")
        if len({spec.name for spec in specs}) < len(specs):
            raise ValueError("two channels have the same name")
        self.specs = tuple(specs)
        self.audience = Audience(capacity, len(specs))
        self.figures = [Figures() for _ in specs]
        self._rate_hz = rate_hz
        self._every = [max(1, round(rate_hz / spec.rate_hz)) for spec in specs]
        self._awake: dict[int, _Awake] = {}
        self._index = {spec.name: index for index, spec in enumerate(specs)}
        self._hysteresis = hysteresis
        self._asked: dict[int, Watch] = {}
        self._answered_s: dict[int, float] = {}
        self._news: list[News] = []
        rules = ViewRules(cap=max([spec.cap for spec in specs], default=1), hysteresis=hysteresis)
        self._views = Views(max(1, len(specs)), rules, 1000 / rate_hz)
        self._resting = np.ones(max(1, len(specs)), np.uint8)

    # ---------------------------------------------------------------------------------------------------- televisions
    def enter(self, conn: int) -> None:
        """A television was welcomed."""
        self.audience.enter(conn)

    def leave(self, conn: int) -> None:
        """It is gone. Nothing if it is no television."""
        if self.audience.present[conn]:
            self.audience.leave(conn)
            self._asked.pop(conn, None)
            self._answered_s.pop(conn, None)

    def ask(self, conn: int, watch: Watch) -> Channel | None:
        """Somebody wants to watch: the answer, or None if it comes with ``tick``."""
        if not self.audience.present[conn]:
            return Channel(ChannelCode.PROFILE, watch.name or "", text="only a client of profile tv joins channels")
        self._asked[conn] = watch
        return None

    def tick(self, tick: int, now_s: float) -> list[tuple[int, Channel]]:
        """Time passed: who joined what, to be told before the next frames."""
        told = []
        for conn, watch in list(self._asked.items()):
            if now_s - self._answered_s.get(conn, float("-inf")) >= WATCH_S:
                del self._asked[conn]
                self._answered_s[conn] = now_s
                told.append((conn, self._join(conn, watch, tick, now_s)))
        for index, awake in list(self._awake.items()):
            if len(self.audience.members(index)):
                awake.watched_s = now_s
            elif now_s - awake.watched_s >= REST_S:
                self._sleep(index)
        return told

    def _join(self, conn: int, watch: Watch, tick: int, now_s: float) -> Channel:
        if watch.name == "":
            self.audience.join(conn, NOBODY, 0)
            return Channel(ChannelCode.OFF, "")
        index = self._index.get(watch.name, NOBODY) if watch.name is not None else 0 if self.specs else NOBODY
        if index == NOBODY:
            known = ", ".join(spec.name for spec in self.specs[:8]) or "none"
            return Channel(ChannelCode.UNKNOWN, watch.name or "", text=f"there is no such channel; known are: {known}")
        awake = self._awake.get(index) or self._wake(index, tick, now_s)
        every, recording = self._every[index], awake.recording
        wanted = round(watch.behind_s * self._rate_hz / every)
        stored = recording.keyframe_before(recording.newest - wanted) if wanted else None
        delay = 0 if stored is None else recording.newest - stored.after
        self.audience.join(conn, index, delay)
        spec = self.specs[index]
        behind_ms = round(delay * every * 1000 / self._rate_hz)
        return Channel(
            ChannelCode.WATCHING,
            spec.name,
            FIRST_STREAM + index,
            spec.title or spec.name,
            self._rate_hz / every,
            behind_ms,
        )

    def acknowledged(self, conn: npt.NDArray[np.uint32], frame: npt.NDArray[np.uint32]) -> None:
        """Televisions say which frames they have."""
        self.audience.acknowledged(conn, frame)

    # --------------------------------------------------------------------------------------------- waking and sleeping
    def _wake(self, index: int, tick: int, now_s: float) -> _Awake:
        spec = self.specs[index]
        awake = self._awake[index] = _Awake(spec, self._every[index], self._rate_hz, tick, now_s)
        x, y, z = (round(value * GRID_PER_M) for value in spec.place_m)
        near_m = min(spec.near_radius_m, spec.radius_m)
        portion = Portion(spec.radius_m, near_m, max(near_m, OUTER_RADIUS_M), spec.cap)
        self._views.open(index, FIRST_STREAM + index, (x, y, z), round(now_s * 1000), portion=portion)
        view = self._views.state.views[index]
        bytes_each = round(spec.bytes_per_s * self._every[index] / self._rate_hz)
        view["window_bytes"] = min(max(bytes_each, WINDOW_LEAST_BYTES), ENTRY_BYTES_MAX)
        self._news.append(News("channel_awake", {"channel": spec.name}))
        return awake

    def _sleep(self, index: int) -> None:
        del self._awake[index]
        self._views.state.views[index]["active"] = 0
        self._news.append(News("channel_asleep", {"channel": self.specs[index].name}))

    def begin_anew(self) -> None:
        """The schema has changed: all entities enter again."""
        for index, awake in self._awake.items():
            awake.begin_anew()
            self._views.forget(np.array([index], np.int32))
            self.audience.begin_anew(index)

    # -------------------------------------------------------------------------------------------------- what they see
    @property
    def reach_m(self) -> float:
        """How far around their places awake channels see; 0: all sleep."""
        return max((self.specs[index].radius_m * self._hysteresis for index in self._awake), default=0.0)

    def places(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """x and z (grid units) of what awake channels look at."""
        views = self._views.state.views[list(self._awake)]
        return views["x"].copy(), views["z"].copy()

    @property
    def directed(self) -> bool:
        """Whether anybody wants to know what happens where."""
        return any(director_of(awake.camera) is not None for awake in self._awake.values())

    def happened(self, tick: int, x_m: float, z_m: float, weight: float) -> None:
        """Somebody spoke, acted or was spoken of there."""
        for awake in self._awake.values():
            director = director_of(awake.camera)
            if director is not None:
                director.happened(tick, x_m, z_m, weight)

    # --------------------------------------------------------------------------------------------------------- frames
    def frames(self, tick: int, now_ms: int, sight: Sight, blocked: U8) -> Iterator[Batch]:
        """What televisions get in this tick; ``blocked`` by connection, as the carriers have it."""
        due = {index: awake for index, awake in self._awake.items() if tick >= awake.next_tick}
        if due:
            self._encode(due, tick, now_ms, sight)
        for index, awake in self._awake.items():
            self._begin(index, awake, blocked)
            playing = self.audience.entries(
                index, awake.recording, blocked, self._rate_hz / self._every[index], self._every[index]
            )
            if playing is not None and len(playing.conn):
                yield self._count(index, playing)
            for batch in self.audience.keyframes(index, blocked):
                yield self._count(index, batch)

    def _count(self, index: int, batch: Batch) -> Batch:
        self.figures[index].sends += len(batch.conn)
        self.figures[index].bytes += int(batch.length.sum())
        return batch

    def _encode(self, due: dict[int, _Awake], tick: int, now_ms: int, sight: Sight) -> None:
        """One entry for each of these channels."""
        views = self._views.state.views
        entries: dict[int, bytes] = {}
        self._resting[:] = 1
        for index, awake in due.items():
            view = views[index]
            aim = awake.camera.look(tick, sight)
            view["x"], view["y"], view["z"] = aim.centre
            poses = [frame(encode_server(self._camera(index, tick, pose))) for pose in aim.told]
            awake.on = aim.told[-1].text if aim.told else awake.on
            entries[index] = b"".join(poses)
            self._resting[index] = 0
        for batch in self._views.frames(tick, now_ms, sight.mirror, self._resting):
            for index, at, length in zip(batch.conn.tolist(), batch.at.tolist(), batch.length.tolist(), strict=True):
                entries[index] += batch.buffer[at : at + length].tobytes()
        for index, awake in due.items():
            view = views[index]
            view["acked"], view["acked_bytes"] = view["frame"], view["written_bytes"]
            awake.tick = tick
            awake.next_tick = max(awake.next_tick + self._every[index], tick + 1)
            apply(awake.records, entries[index])
            awake.recording.append(entries[index], int(view["frame"]))
            self.figures[index].entries += 1
            if tick - awake.stored_tick >= KEYFRAME_S * self._rate_hz:
                awake.stored_tick = tick
                awake.recording.save(self._keyframe(index, awake))

    def _camera(self, index: int, tick: int, pose: Pose) -> CameraTold:
        """A pose as the next structure message of the channel's stream."""
        view = self._views.state.views[index]
        view["sseq"] += np.uint32(1)
        return _told(index, tick, pose, int(view["sseq"]))

    def _keyframe(self, index: int, awake: _Awake) -> StoredKeyframe:
        """A keyframe behind the newest entry."""
        newest = awake.recording.newest
        if awake.latest is not None and awake.latest.after == newest:
            return awake.latest
        poses = [_told(index, awake.tick, pose, 0) for pose in awake.camera.now(awake.tick)]
        made = keyframe(awake.records, FIRST_STREAM + index, awake.tick, poses)
        self._views.state.slot["held"][index, made.worn] ^= _OTHER_VERSION
        awake.latest = StoredKeyframe(newest, awake.records.frame, [frame(message) for message in made.messages])
        self.figures[index].keyframes += 1
        return awake.latest

    def _begin(self, index: int, awake: _Awake, blocked: U8) -> None:
        """Those who wait for a keyframe get one, each from where it wants to be."""
        waiting = self.audience.wanted(index, blocked)
        if not len(waiting) or awake.recording.newest < 0:
            return
        delays = self.audience.delay[waiting]
        for delay in np.unique(delays).tolist():
            stored = awake.recording.keyframe_before(awake.recording.newest - delay) if delay else None
            given = self._keyframe(index, awake) if stored is None else stored
            self.audience.start(index, waiting[delays == delay], given, awake.recording.newest)

    # ---------------------------------------------------------------------------------------------------------- figures
    def is_awake(self, name: str) -> bool:
        """Whether a channel is encoded now."""
        return self._index[name] in self._awake

    def guide(self) -> list[dict[str, Any]]:
        """What there is to watch, for people: one entry for each channel, in the order of their declaration."""
        shown = []
        for index, spec in enumerate(self.specs):
            awake, every = self._awake.get(index), self._every[index]
            behind = 0 if awake is None or not awake.recording.keyframes else (
                awake.recording.newest - awake.recording.keyframes[0].after
            )  # fmt: skip
            shown.append(
                {
                    "name": spec.name,
                    "title": spec.title or spec.name,
                    "camera": spec.camera,
                    "on": "" if awake is None else awake.on,
                    "viewers": len(self.audience.members(index)),
                    "awake": awake is not None,
                    "rate_hz": self._rate_hz / every,
                    "behind_s_max": min(BEHIND_S_MAX, behind * every // self._rate_hz),
                }
            )
        return shown

    def take_news(self) -> list[News]:
        """What the log should say."""
        news, self._news = self._news, []
        return news


def _told(index: int, tick: int, pose: Pose, sseq: int) -> CameraTold:
    return CameraTold(FIRST_STREAM + index, tick, pose.move_ms, pose.entity, pose.eye, pose.look, pose.text, sseq)


def apply(records: Records, entry: bytes) -> None:
    """Keep ``records`` as a viewer does who is sent this entry: WebSocket frames of the gateway's own making."""
    at = 0
    while at < len(entry):
        size, at = entry[at + 1], at + 2
        if size == 126:
            size, at = int.from_bytes(entry[at : at + 2], "big"), at + 2
        block = decode(entry[at : at + size])
        at += size
        match block:
            case Structure():
                records.apply_structure(block)
            case Frame():
                records.apply_frame(block)
            case None if crowds.decode(entry[at - size : at]) is None:
                records.count_structure((records.sseq + 1) & U32_MAX)  # a pose
