"""What a television holds of its channel: records, camera, and how far it is (STANDARD.md §10).

Invariants: entities and camera are those of the newest keyframe and all that followed it without a gap; a frame counts
as applied only when the keyframe before it is whole. Raises ProtocolViolation where a server breaks the standard. Not
responsible for: the session's own stream (``core``), drawing.
"""

from client.events import CameraMoved, ChannelBegan, ClientEvent, NotWatching, Watching
from protocol.channels import Camera, Channel, ChannelCode, Keyframe, Watch
from protocol.codes import ProtocolViolation
from protocol.frames import Frame, Records, Structure
from protocol.layouts import GRID_PER_M, SHOWN_PER_M, VELOCITY_PER_GRID
from protocol.messages import U32_MAX

Metres = tuple[float, float, float]
Pose = tuple[Metres, Metres]
"""The eye, and what it looks at."""


class Television:
    """One client's. ``wanted``: what it asked for last; ``channel``: what it was told that it watches."""

    def __init__(self) -> None:
        self.wanted: Watch | None = None
        self.channel: Channel | None = None
        self.records = Records()
        self.camera: Camera | None = None
        self.applied = 0
        """The newest frame applied, to be acknowledged; 0 while a keyframe is not whole."""
        self._parts = 0
        self._began = False
        self._before: Pose | None = None

    def forget(self) -> None:
        """A new connection: nothing is watched on it yet."""
        self.channel = None
        self._clear(Records(), 0)
        self._began = False

    def answered(self, channel: Channel) -> ClientEvent:
        """The server has carried out a WATCH, or refused it; one that is refused leaves everything as it is."""
        if channel.code not in (ChannelCode.WATCHING, ChannelCode.OFF):
            return NotWatching(channel.code, channel.text)
        self.forget()
        if channel.code == ChannelCode.OFF:
            return NotWatching(channel.code, "")
        self.channel = channel
        return Watching(channel.name, channel.title, channel.rate_hz, channel.behind_ms)

    def begin(self, keyframe: Keyframe) -> ClientEvent:
        """Everything is told anew."""
        if self.channel is None or keyframe.stream != self.channel.stream:
            raise ProtocolViolation("stream", f"a keyframe of stream {keyframe.stream}, which is not watched")
        records = Records()
        records.sseq, records.frame, records.tick = keyframe.sseq, keyframe.frame, keyframe.tick
        self._clear(records, keyframe.parts)
        self._began = True
        if not keyframe.parts:
            self.applied = keyframe.frame
        return ChannelBegan(keyframe.tick)

    def _clear(self, records: Records, parts: int) -> None:
        self.records, self.camera, self._before, self._parts, self.applied = records, None, None, parts, 0

    def apply(self, block: Structure | Frame) -> None:
        """A STRUCTURE or FRAME of the channel's stream."""
        if not self._began:
            raise ProtocolViolation("keyframe", "a channel's stream begins with a keyframe")
        if isinstance(block, Structure):
            self.records.apply_structure(block)
            self._count()
            return
        if self._parts or block.frame != (self.records.frame + 1) & U32_MAX:
            raise ProtocolViolation("frame_gap", f"frame {block.frame} follows {self.records.frame} or half a keyframe")
        self.records.apply_frame(block)
        self.applied = block.frame

    def turn(self, camera: Camera, rate_hz: int) -> ClientEvent:
        """The camera cuts or begins to move."""
        if not self._began:
            raise ProtocolViolation("keyframe", "a channel's stream begins with a keyframe")
        self._before = self.pose(camera.tick, rate_hz) if camera.move_ms else None
        self.records.count_structure(camera.sseq)
        self.camera = camera
        self._count()
        return CameraMoved(camera.entity, camera.move_ms, camera.text)

    def _count(self) -> None:
        if self._parts:
            self._parts -= 1
            if not self._parts:
                self.applied = self.records.frame

    def pose(self, tick: float, rate_hz: int) -> Pose | None:
        """The eye and what it looks at, metres, at a tick of the stream; None before the first CAMERA, or while the
        entity that it is tied to is not there."""
        camera = self.camera
        if camera is None:
            return None
        base: Metres | None = (0.0, 0.0, 0.0)
        if camera.entity is not None:
            base = self._shown(camera.entity, tick)
        if base is None:
            return self._before
        eye, look = (_sum(base, point) for point in (camera.eye, camera.look))
        if self._before is None:
            return eye, look
        part = min(1.0, max(0.0, (tick - camera.tick) * 1000 / rate_hz / camera.move_ms))
        return _mix(self._before[0], eye, part), _mix(self._before[1], look, part)

    def _shown(self, entity: int, tick: float) -> Metres | None:
        r = self.records
        for number in (r.live & (r.id == entity)).nonzero()[0].tolist():
            dt = tick - r.record_tick[number]
            x, y, z = ((VELOCITY_PER_GRID * r.p[number] + r.v[number] * dt) / SHOWN_PER_M).tolist()
            return x, y, z
        return None


def _sum(base: Metres, point: tuple[int, int, int]) -> Metres:
    return base[0] + point[0] / GRID_PER_M, base[1] + point[1] / GRID_PER_M, base[2] + point[2] / GRID_PER_M


def _mix(a: Metres, b: Metres, part: float) -> Metres:
    return a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part, a[2] + (b[2] - a[2]) * part
