"""A small world that is run once before the doors open: it compiles every kernel on the path of a tick (DESIGN §5).

A rehearsal uses the production cores and calls, so nothing on the hot path can be forgotten here. Not responsible
for: progress.
"""

import hashlib
import os
from itertools import count

import numpy as np

from protocol.layouts import COMMAND
from protocol.link import RegionDelta, Upward
from protocol.messages import Hello, Pose, encode_client
from protocol.poses import Part, Sample, encode_samples
from server.core.gateway import GatewayCore, GatewayFacts
from server.core.views import ViewRules
from server.session.identity import Identity
from server.session.limits import SessionLimits
from server.transport.inbound import Inbound, Opened
from shard.behaviours.api import Body, Script
from shard.config import ShardConfig
from shard.core import ShardCore


def _bytes(n: int) -> bytes:
    """Predictable bytes: nothing here is secret."""
    return hashlib.sha256(b"rehearsal").digest()[:n].ljust(n, b"\0")


def rehearse_world() -> None:
    """Two people in headsets and a ball, thirty ticks: sessions, walking, physics, interest, frames, poses. Raises
    RuntimeError if nothing of it was seen."""
    script = Script("rehearsal")
    script.kind("ball", body=Body(radius_m=0.3, mass_kg=1.0))

    @script.start
    def begin(world: object) -> None:
        world.spawn("ball", pos=np.array([[1.0, 0.0, 1.0]]))  # type: ignore[attr-defined]

    shard = ShardCore(ShardConfig(), None, [script])
    shard.add_region(0, 1, start=True)
    names = count()
    gateway = GatewayCore(
        GatewayFacts(1, "rehearsal", 20, 3, None, None, "", "isthmus"),
        4,
        ViewRules(),
        SessionLimits(),
        lambda _token: Identity("rehearsal", str(next(names)), guest=True),
        lambda n: os.urandom(n) if n > 32 else _bytes(n),
    )
    hello = encode_client(Hello(1, 1, None, "walker", "vr"))
    pose = encode_client(Pose(0, encode_samples([Sample(Part((0.0, 1.7, 0.0)), Part((0.2, 1.2, -0.3)))])))
    said = np.frombuffer(bytearray(2 * pose), np.uint8)
    opened = [Opened(conn, 1, "127.0.0.1") for conn in range(2)]
    gateway.take_inbound(Inbound(opened=opened, cold=[(conn, hello) for conn in range(2)]), 0.0)
    commands = np.zeros(2, COMMAND)
    commands["move_x"], commands["steps"] = 127, 3
    blocked = np.zeros(4, np.uint8)
    for tick in range(1, 31):
        now_s = tick / 20
        two = np.arange(2, dtype=np.uint32)
        frame = gateway.views.state.views["frame"][:2].astype(np.uint32)
        ones = np.ones(2, np.uint8)
        if len(gateway.sessions.live_conns) == 2:  # before WELCOME nobody may say this
            inbound = Inbound(input_conn=two, input_seq=two * 0 + np.uint32(tick), input_frame=frame, input_stamp=two)
            inbound.command_first, inbound.command_count, inbound.commands = two, ones, commands
            inbound.ack_conn, inbound.ack_frame, inbound.ack_stamp = two, frame, two
            inbound.pose_conn, inbound.pose_at = np.arange(2, dtype=np.int32), np.arange(2, dtype=np.int32) * len(pose)
            inbound.pose_bytes, inbound.pose_data = np.full(2, len(pose), np.int32), said
            gateway.take_inbound(inbound, now_s)
        result = shard.step(tick, [Upward.decode(data) for _, data in gateway.upward(tick)])
        for published in result.published:
            delta = published.snapshot() if published.subscribe else published.delta
            gateway.receive(RegionDelta.decode(delta.encode()), now_s)
        gateway.tick(tick, now_s)
        gateway.take()
        for _ in gateway.frames(tick, now_s, blocked):
            pass
    if gateway.poses.totals.messages == 0 or gateway.views.totals.looked == 0:
        raise RuntimeError("the rehearsal did not show anybody: kernels would compile when the first person comes")
