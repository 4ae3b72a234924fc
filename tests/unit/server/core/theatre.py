"""A small restless world, its channels, and televisions that apply every byte as the standard says."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from client.channels import Television
from protocol import crowds
from protocol.channels import Camera, Channel, ChannelCode, Keyframe, Watch
from protocol.frames import Frame, Records, decode
from protocol.messages import decode_server, encode_server
from server.core.cameras import ChannelSpec
from server.core.channels import Channels, _Awake
from server.core.mirror import Mirror
from server.core.sight import Sight
from tests.sim.doors import split
from tests.unit.kernels.gateway_world import World

RATE_HZ = 20
PERSON = 1
SCHEMA: dict[str, Any] = {
    "kinds": [[PERSON, "person"]],
    "components": [[1, "name", "U32", "", None], [2, "changes", "i4", "", None]],
}
SQUARE = ChannelSpec("square", "The square", "fixed", place_m=(60.0, 0.0, 60.0), radius_m=50.0, cap=60)
LIVE = ChannelSpec("live", "Live", "director", radius_m=40.0, cap=60)


class Set:
    """One television set. ``acks``: whether it says what it has."""

    def __init__(self, conn: int) -> None:
        self.conn = conn
        self.tv = Television()
        self.answers: list[Channel] = []
        self.keyframes: list[Keyframe] = []
        self.cameras: list[Camera] = []
        self.frames = 0
        self.bytes = 0
        self.raw: list[bytes] = []
        self.acks = True

    def take(self, data: bytes) -> None:
        """One message."""
        block = decode(data)
        if block is not None:
            self.tv.apply(block)
            self.frames += isinstance(block, Frame)
            return
        if crowds.decode(data) is not None:
            return
        message = decode_server(data)
        if isinstance(message, Channel):
            self.answers.append(message)
            if message.code != ChannelCode.PROFILE:
                self.tv.answered(message)
        elif isinstance(message, Keyframe):
            self.keyframes.append(message)
            self.tv.begin(message)
        else:
            assert isinstance(message, Camera)
            self.cameras.append(message)
            self.tv.turn(message, RATE_HZ)

    @property
    def shown(self) -> Any:
        """(id, place at the stream's newest tick, components) of all that it shows, by id."""
        return shown(self.tv.records)


def shown(records: Records) -> Any:
    """The same for any records."""
    numbers = np.flatnonzero(records.live).tolist()
    ids, places = records.shown(records.tick)
    parts = zip(ids.tolist(), places.tolist(), numbers, strict=True)
    return {entity: (place, dict(records.components[number])) for entity, place, number in sorted(parts)}


class Theatre:
    """``step`` is one tick of everything."""

    def __init__(
        self, specs: Sequence[ChannelSpec] = (SQUARE, LIVE), capacity: int = 16, people: int = 150, seed: int = 1
    ) -> None:
        self.world = World(seed, 600, 120.0)
        self.people = people
        self.mirror = Mirror(cell_units=2560)
        self.channels = Channels(specs, capacity, RATE_HZ, 1.1)
        self.blocked = np.zeros(capacity, np.uint8)
        self.sets: dict[int, Set] = {}
        self.tick = 0
        self.calls: list[tuple[bytes, int]] = []
        """Of each slice that was given out in the newest tick: its bytes and to how many."""
        self.move(0, self.people)

    @property
    def now_s(self) -> float:
        return self.tick / RATE_HZ

    def move(self, despawns: int = 1, spawns: int = 1) -> None:
        """The world's tick."""
        self.tick += 1
        begins = self.tick == 1
        assert self.mirror.apply(self.world.step(self.tick, spawns, despawns, 3, snapshot=begins))
        self.mirror.advance(self.tick)

    def come(self, conn: int, name: str | None = "square", behind_s: int = 0) -> Set:
        """A television is switched on."""
        found = self.sets[conn] = Set(conn)
        self.channels.enter(conn)
        assert self.channels.ask(conn, Watch(name, behind_s)) is None
        return found

    def show(self) -> None:
        """The channels' tick."""
        for conn, answer in self.channels.tick(self.tick, self.now_s):
            if conn in self.sets:
                self.sets[conn].take(encode_server(answer))
        sight = Sight(self.mirror, SCHEMA, PERSON, RATE_HZ)
        self.calls = []
        served: set[int] = set()
        for batch in self.channels.frames(self.tick, int(self.now_s * 1000), sight, self.blocked):
            assert not self.blocked[batch.conn].any(), "nothing is given to one who is blocked"
            assert not served & set(batch.conn.tolist()), "one slice at most for each in a tick"
            served |= set(batch.conn.tolist())
            for at, length in {(int(a), int(n)) for a, n in zip(batch.at, batch.length, strict=True)}:
                same = int(np.count_nonzero((batch.at == at) & (batch.length == length)))
                self.calls.append((batch.buffer[at : at + length].tobytes(), same))
            for conn, at, length in zip(batch.conn.tolist(), batch.at.tolist(), batch.length.tolist(), strict=True):
                if conn in self.sets:
                    found = self.sets[conn]
                    data = batch.buffer[at : at + length].tobytes()
                    found.bytes += length
                    found.raw.append(data)
                    split(data, found.take)
        for found in self.sets.values():
            if found.acks:
                frame = np.array([found.tv.applied], np.uint32)
                self.channels.acknowledged(np.array([found.conn], np.uint32), frame)

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.move()
            self.show()

    def awake(self, index: int = 0) -> _Awake:
        """What a channel has while it is awake."""
        return self.channels._awake[index]
