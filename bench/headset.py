"""What a headset's connection carries in a crowd: `python -m bench.headset`.

200 people in headsets, all visible to each other, gesture with both hands at 60 samples a second; some walk. One region
and one gateway in this process, without sockets; bytes are those of whole WebSocket frames. Printed for each scene:
kbit/s of motion and structure, of poses, and of both, of the viewer with most and of the mean; how many people's poses
a viewer knows; and the gateway's time in the pose kernels. The bound is 256 kbit/s altogether.
"""

import time
from typing import Any

import numpy as np

from protocol.layouts import COMMAND
from server.transport.inbound import Inbound
from tests.unit.server.core.headsets import RATE_HZ, Room, waving

PEOPLE = 200
SECONDS = 5
BOUND_KBIT = 256.0


def crowd(radius_m: float) -> np.ndarray:
    """Places (x, z) of people evenly spread over a disc (sunflower)."""
    k = np.arange(PEOPLE) + 0.5
    r, a = radius_m * np.sqrt(k / PEOPLE), np.pi * (1 + np.sqrt(5)) * k
    return np.stack([r * np.cos(a), r * np.sin(a)], 1)


def walk(room: Room, walkers: int, rng: np.random.Generator) -> None:
    """The last ``walkers`` people walk on, each turning now and then."""
    conn = np.arange(PEOPLE - walkers, PEOPLE, dtype=np.uint32)
    turn = np.sin(room.tick // RATE_HZ + conn) * np.pi
    commands = np.zeros(walkers, COMMAND)
    commands["move_x"], commands["move_z"] = np.rint(60 * np.sin(turn)), np.rint(60 * np.cos(turn))
    commands["steps"] = 3
    seq = np.full(walkers, room.tick, np.uint32)
    frame = room.core.views.state.views["frame"][conn].astype(np.uint32)
    came = Inbound(input_conn=conn, input_seq=seq, input_frame=frame, input_stamp=seq, commands=commands)
    came.command_first, came.command_count = np.arange(walkers, dtype=np.uint32), np.ones(walkers, np.uint8)
    room.core.take_inbound(came, room.tick / RATE_HZ)


def scene(name: str, radius_m: float, walkers: int) -> None:
    """Run one and print it."""
    room = Room(["vr"] * PEOPLE, crowd(radius_m))
    for client in room.clients[1:]:
        client.decodes = False
    rng = np.random.default_rng(1)
    kernel_s = 0.0
    poses: Any = room.core.poses
    frames = poses.frames

    def timed(*arguments: object) -> object:
        nonlocal kernel_s
        batches = frames(*arguments)
        while True:
            begin = time.perf_counter()
            batch = next(batches, None)
            kernel_s += time.perf_counter() - begin
            if batch is None:
                return
            yield batch

    poses.frames = timed
    for run in range(2):
        if run:
            for client in room.clients:
                client.pose_bytes = client.frame_bytes = 0
            kernel_s = 0.0
        for _ in range(SECONDS * RATE_HZ):
            room.say({conn: waving(room.tick, conn) for conn in range(PEOPLE)})
            if walkers:
                walk(room, walkers, rng)
            room.step()
    kbit = 8 / 1000 / SECONDS
    hands = np.array([client.pose_bytes for client in room.clients]) * kbit
    motion = np.array([client.frame_bytes for client in room.clients]) * kbit
    both = hands + motion
    known = len(room.clients[0].poses.held)
    most = int(np.argmax(both))
    verdict = "holds" if both.max() <= BOUND_KBIT else "DOES NOT HOLD"
    print(
        f"{name}: most {both[most]:.0f} kbit/s (motion {motion[most]:.0f}, poses {hands[most]:.0f}), "
        f"mean {both.mean():.0f} ({motion.mean():.0f} + {hands.mean():.0f}), poses known of {known}, "
        f"{kernel_s / SECONDS / RATE_HZ * 1e6 / PEOPLE:.1f} us a view and tick: {verdict}"
    )


def main() -> None:
    """All scenes."""
    scene("a hall (8 m), all stand", 8.0, 0)
    scene("a hall (8 m), 50 walk", 8.0, 50)
    scene("a hall (8 m), all walk", 8.0, 200)
    scene("a square (20 m), 100 walk", 20.0, 100)
    scene("a park (60 m), all walk", 60.0, 200)


if __name__ == "__main__":
    main()
