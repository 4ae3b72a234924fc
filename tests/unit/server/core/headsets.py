"""People in headsets before a gateway, and what each of them is told: shared by tests and the benchmark of poses."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.frames import Frame, Records, Structure, decode
from protocol.link import RegionDelta, Upward
from protocol.messages import (
    T_FRAME,
    T_POSES,
    T_STRUCTURE,
    Ack,
    Hello,
    Pose,
    Welcome,
    decode_server,
    encode_client,
)
from protocol.poses import Part, PoseRecords, Poses, Sample, decode_poses, encode_poses, encode_samples
from server.core.gateway import GatewayCore, GatewayFacts
from server.core.outgoing import Deliver
from server.core.poses import PoseRules
from server.core.views import ViewRules
from server.session.actions import CloseConn
from server.session.identity import Identity
from server.session.limits import SessionLimits
from server.transport.inbound import Inbound
from shard.config import ShardConfig
from shard.region import RegionCore
from tests.sim.doors import hot, split

RATE_HZ = 20
Places = npt.NDArray[np.float64]


@dataclass
class Client:
    """What one client knows and was sent."""

    records: Records = field(default_factory=Records)
    poses: PoseRecords = field(default_factory=PoseRecords)
    messages: list[Poses] = field(default_factory=list)
    pose_bytes: int = 0
    frame_bytes: int = 0
    pose_bytes_most: int = 0
    """Of one tick."""
    decodes: bool = True
    """False: bytes are counted alone."""

    def take(self, data: bytes) -> None:
        """One message."""
        if not self.decodes:
            self.pose_bytes += (data[1] == T_POSES) * (len(data) + 4)
            self.frame_bytes += (data[1] in (T_STRUCTURE, T_FRAME)) * (len(data) + 4)
            return
        block = decode(data)
        if isinstance(block, Structure):
            self.frame_bytes += len(data) + 4
            self.records.apply_structure(block)
            for number in block.leave_number.tolist():
                self.poses.left(number)
            for number in block.enter_number.tolist():
                self.poses.entered(number, block.sseq)
        elif isinstance(block, Frame):
            self.frame_bytes += len(data) + 4
            self.records.apply_frame(block)
        elif (poses := decode_poses(data)) is not None:
            assert encode_poses(poses) == data, "the kernel writes what the library does"
            named = {*poses.near_number.tolist(), *poses.mid_number.tolist()}
            assert named <= set(np.flatnonzero(self.records.live).tolist()), "only numbers that live"
            self.messages.append(poses)
            self.pose_bytes += len(data) + 4
            self.pose_bytes_most = max(self.pose_bytes_most, len(data) + 4)
            self.poses.apply(poses)

    def pose_of(self, body: int) -> Any:
        """What is held of a body's pose, or None."""
        at = np.flatnonzero(self.records.live & (self.records.id == body))
        return self.poses.held.get(int(at[0])) if len(at) else None


class Room:
    """A bare region, its gateway, and clients with these profiles at these places (x, z)."""

    def __init__(self, profiles: list[str], places: Any, rules: PoseRules | None = None, seed: int = 1) -> None:
        self.shard = RegionCore(ShardConfig(seed=seed, bounds_half_m=256.0))
        facts = GatewayFacts(1, "test", RATE_HZ, 3, None, None, "", "test")
        limits = SessionLimits(connections_per_address_max=1000, joins_per_tick=1000)
        view_rules = ViewRules(radius_m=100.0, near_radius_m=30.0, cap=250)
        count = len(profiles)
        self.core = GatewayCore(
            facts, count, view_rules, limits, lambda token: Identity("t", str(token), token), bytes, pose_rules=rules
        )
        self.tick = 0
        self.blocked = np.zeros(count, np.uint8)
        self.clients = [Client() for _ in profiles]
        self.bodies = np.zeros(count, np.int64)
        self.closed: dict[int, str] = {}
        self.step()
        for conn, profile in enumerate(profiles):
            self.core.connected(conn, f"10.0.0.{conn}", 0.0)
            hello = Hello(1, 1, f"t{conn}", f"Guest {conn}", profile)
            self.core.said(conn, encode_client(hello), 0.0)
        while not (self.bodies[[p != "observer" for p in profiles]] > 0).all():
            self.step()
            assert self.tick < 100
        self.put(places)
        for _ in range(40):
            self.step()

    def put(self, places: Any) -> None:
        """People stand at these places (x, z), from now on."""
        table = self.shard.state.table
        at = [k for k, body in enumerate(self.bodies.tolist()) if body]
        rows = table.rows_of(self.bodies[at].tolist())
        table.pos[rows[:, None], [0, 2]] = np.asarray(places, np.float64).reshape(-1, 2)[at]

    def say(self, poses: dict[int, list[Sample]], stamp_ms: int | None = None) -> None:
        """These connections' clients say where their head and hands are."""
        stamp = 50 * self.tick if stamp_ms is None else stamp_ms
        self.say_raw({c: encode_client(Pose(stamp, encode_samples(samples))) for c, samples in poses.items()})

    def say_raw(self, messages: dict[int, bytes]) -> None:
        """POSE messages as a transport hands them over."""
        data = b"".join(messages.values())
        sizes = np.array([len(m) for m in messages.values()], np.int32)
        came = Inbound(pose_conn=np.array(list(messages), np.int32), pose_bytes=sizes)
        came.pose_at, came.pose_data = (
            (np.cumsum(sizes) - sizes).astype(np.int32),
            np.frombuffer(bytearray(data), np.uint8),
        )
        self.core.take_inbound(came, self.tick / RATE_HZ)

    def step(self) -> None:
        """One tick: the region, what each client is told, and its acknowledgement."""
        self.tick += 1
        now_s = self.tick / RATE_HZ
        result = self.shard.step(self.tick, [Upward.decode(data) for _, data in self.core.upward(self.tick)])
        delta = self.shard.snapshot_delta(result.delta.seq) if result.subscribe else result.delta
        self.core.receive(RegionDelta.decode(delta.encode()), now_s)
        self.core.tick(self.tick, now_s)
        for output in self.core.take():
            if isinstance(output, CloseConn):
                self.closed[output.conn] = output.text
            elif isinstance(output, Deliver):
                for conn in output.conns.tolist():
                    self._tell(conn, output)
        for batch in self.core.frames(self.tick, now_s, self.blocked):
            for conn, at, length in zip(batch.conn.tolist(), batch.at.tolist(), batch.length.tolist(), strict=True):
                split(bytes(batch.buffer[at : at + length]), self.clients[conn].take)
        newest = self.core.views.state.views["frame"].tolist()
        acks = [
            (conn, Ack(c.records.frame if c.decodes else newest[conn], 0))
            for conn, c in enumerate(self.clients)
            if c.records.frame
        ]
        self.core.take_inbound(hot([a for a in acks if a[0] not in self.closed]), now_s)

    def _tell(self, conn: int, output: Deliver) -> None:
        message = decode_server(output.data)
        if isinstance(message, Welcome):
            self.bodies[conn] = message.body or 0
        elif output.sseq is not None and self.clients[conn].decodes:
            self.clients[conn].records.count_structure(int(output.sseq[output.conns.tolist().index(conn)]))


def waving(tick: int, who: int, samples: int = 3) -> list[Sample]:
    """Samples of somebody in a headset who gestures: hands on circles of 15 cm at 0.8 Hz, a head that looks around."""
    made = []
    for k in range(samples):
        back_ms = 16 * (samples - 1 - k)
        t = tick / RATE_HZ - back_ms / 1000 + 0.37 * who
        a = 2 * np.pi * 0.8 * t
        turn = 0.5 * np.sin(1.3 * t)
        q = (0.0, float(np.sin(turn / 2)), 0.0, float(np.cos(turn / 2)))
        head = Part((0.03 * float(np.sin(t)), 1.68, 0.03 * float(np.cos(1.7 * t))), q)
        c, s = 0.15 * float(np.cos(a)), 0.15 * float(np.sin(a))
        hand_q = (float(np.sin(a / 4)), 0.0, 0.0, float(np.cos(a / 4)))
        made.append(
            Sample(
                head, Part((-0.25 + c, 1.2 + s, -0.3), hand_q), Part((0.25 - c, 1.2 + s, -0.3), hand_q), back_ms=back_ms
            )
        )
    return made
