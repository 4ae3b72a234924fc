"""VALUES in C against a plain server and a network that loses, doubles and reorders (STANDARD.md §9.4).

The server here knows what it sent and which acknowledgements reached it, and names bases by the standard; the
client's view must show, of each entity that is in it, the record of the greatest frame that came. Nothing of
protocol/*.py is used.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.vectors.native import BROKEN, DROPPED, OK, U32, WAITS, Native
from tests.vectors.test_native import welcomed

NUMBERS = 8


@dataclass(frozen=True)
class Record:
    tick: int
    p: tuple[int, ...]
    v: tuple[int, ...]
    yaw: int

    def shown(self, tick: float) -> list[float]:
        return [(16 * p + v * (tick - self.tick)) / 2048 for p, v in zip(self.p, self.v, strict=True)] + [self.yaw]


@dataclass
class Entity:
    id: int
    number: int
    base: int = -1
    """Bases go forward: the last one that was named."""
    records: dict[int, Record] = field(default_factory=dict)
    """By frame; that of its enter is none of them."""


@dataclass
class Sent:
    frame: int
    sseq: int
    rows: list[tuple[Entity, Record]]
    data: bytes


class Server:
    """What a gateway knows of one client. Frames are counted in whole numbers here and wrap on the wire."""

    def __init__(self, rng: np.random.Generator, frame: int) -> None:
        self.rng = rng
        self.tick, self.frame, self.sseq, self.last_id = 1000, frame, 0, 0
        self.entities: dict[int, Entity] = {}
        self.acked: set[int] = set()

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def values(self) -> Sent:
        self.frame += 1
        self.tick += self.whole(0, 3)
        deltas: list[tuple[Any, ...]] = []
        fulls: list[tuple[Any, ...]] = []
        rows = []
        origin = tuple(self.whole(-(10**6), 10**6) for _ in range(3))
        for entity in self.entities.values():
            if self.rng.random() < 0.4:
                continue
            base = max((f for f in entity.records if self._may_name(entity, f)), default=None)
            yaw = self.whole(0, 255)
            if base is not None and self.rng.random() < 0.8:
                old = entity.records[base]
                d, dv = ([self.whole(-128, 127) for _ in range(3)] for _ in range(2))
                dv = [max(-32768, min(32767, v + x)) - v for v, x in zip(old.v, dv, strict=True)]
                moved = [(v * (self.tick - old.tick) + 8) // 16 for v in old.v]
                record = Record(
                    self.tick,
                    tuple(p + m + x for p, m, x in zip(old.p, moved, d, strict=True)),
                    tuple(v + x for v, x in zip(old.v, dv, strict=True)),
                    yaw,
                )
                entity.base = base
                deltas.append((entity.number, d + dv, yaw, self.frame - base))
            else:
                place, v = ([self.whole(-32768, 32767) for _ in range(3)] for _ in range(2))
                age = self.whole(0, 255)
                p = tuple(o + x for o, x in zip(origin, place, strict=True))
                record = Record(self.tick - age, p, tuple(v), yaw)
                fulls.append((entity.number, place + v, age, yaw))
            entity.records[self.frame] = record
            rows.append((entity, record))
        columns = struct.pack(
            f"<HH{len(deltas)}H{len(fulls)}H", len(deltas), len(fulls), *(d[0] for d in deltas + fulls)
        )
        columns += b"".join(struct.pack("<h", f[1][axis]) for axis in range(6) for f in fulls)
        columns += b"".join(struct.pack("b", d[1][axis]) for axis in range(6) for d in deltas)
        columns += bytes(d[2] for d in deltas) + bytes(d[3] for d in deltas)
        columns += bytes(f[2] for f in fulls) + bytes(f[3] for f in fulls)
        block = bytes([1, 0]) + columns if deltas or fulls else None
        head = [28, 1, self.frame % U32, self.tick, self.sseq, None, list(origin) if fulls else None]
        return Sent(self.frame, self.sseq, rows, msgpack.packb([*head, block]))

    def _may_name(self, entity: Entity, frame: int) -> bool:
        """Known to have come, within reach, and not behind the last one."""
        return frame in self.acked and 1 <= self.frame - frame <= 255 and frame >= entity.base

    def structure(self) -> tuple[Sent, list[int]]:
        """Some leave, some enter, also under numbers that are free only now."""
        self.sseq += 1
        leaves = [n for n in self.entities if self.rng.random() < 0.2]
        for number in leaves:
            del self.entities[number]
        enters = []
        for number in range(NUMBERS):
            if number not in self.entities and self.rng.random() < 0.3:
                self.last_id += 1
                record = Record(
                    self.tick, (self.whole(-9, 9), 0, 5), (self.whole(-900, 900), 0, -16), self.whole(0, 255)
                )
                entity = Entity(self.last_id, number)
                self.entities[number] = entity
                enters.append((entity, record))
        e = len(enters)
        columns = struct.pack("<4H", e, len(leaves), 0, 0) + struct.pack(f"<{e}Q", *(x.id for x, _ in enters))
        columns += struct.pack(f"<{e}H", *(x.number for x, _ in enters)) + struct.pack(f"<{e}H", *[7] * e)
        for axis in range(3):
            columns += struct.pack(f"<{e}h", *(r.p[axis] for _, r in enters))
        for axis in range(3):
            columns += struct.pack(f"<{e}h", *(r.v[axis] for _, r in enters))
        columns += struct.pack(f"<{e}H", *[1] * e) + struct.pack(f"<{len(leaves)}H", *leaves)
        columns += bytes(e) + bytes(r.yaw for _, r in enters) + b"\x80" * e
        data = msgpack.packb(
            [17, self.sseq, self.tick, (self.frame + self.whole(0, 1)) % U32, [0, 0, 0], b"\0" + columns]
        )
        return Sent(-1, self.sseq, enters, data), leaves

    def hear(self, ack: bytes) -> None:
        _, newest, _, earlier = msgpack.unpackb(ack)
        if newest:
            at = self.frame - (self.frame - newest) % U32
            self.acked |= {at} | {at - 1 - i for i in range(64) if earlier >> i & 1}


class Network:
    """What is under way, what has come, and what must be shown."""

    def __init__(self, native: Native, server: Server) -> None:
        self.native, self.server = native, server
        self.flight: list[Sent] = []
        self.queue: list[tuple[Sent, list[int]]] = []
        self.waiting: list[Sent] = []
        self.came: set[int] = set()
        self.held: dict[int, tuple[Entity, int, Record]] = {}
        """number → entity, greatest frame, its record."""
        self.sseq = 0

    def deliver(self, sent: Sent) -> None:
        result = self.native.take(sent.data)["result"]
        if result == DROPPED:
            return
        assert result == (WAITS if sent.sseq > self.sseq else OK)
        assert sent.frame not in self.came
        self.came.add(sent.frame)
        if result == WAITS:
            self.waiting.append(sent)
        else:
            self._apply(sent)

    def deliver_structure(self) -> None:
        sent, leaves = self.queue.pop(0)
        assert self.native.take(sent.data)["result"] == OK
        self.sseq = sent.sseq
        for number in leaves:
            del self.held[number]
        for entity, record in sent.rows:
            self.held[entity.number] = entity, sent.frame, record
        for ready in sorted((s for s in self.waiting if s.sseq <= self.sseq), key=lambda s: s.frame):
            self.waiting.remove(ready)
            self._apply(ready)

    def _apply(self, sent: Sent) -> None:
        for entity, record in sent.rows:
            held = self.held.get(entity.number)
            if held is not None and held[0] is entity and sent.frame >= held[1]:
                self.held[entity.number] = entity, sent.frame, record

    def acknowledge(self, lost: bool) -> None:
        ack = bytes.fromhex(self.native.ask("ack", 5)["hex"])
        if not lost:
            self.server.hear(ack)

    def check(self) -> None:
        tick = self.server.tick + 0.25
        expected = {str(entity.id): record.shown(tick) for entity, _, record in self.held.values()}
        shown = self.native.shown(tick)
        assert shown == {entity: pytest.approx(place, rel=1e-12) for entity, place in expected.items()}


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, U32 - 1), frame=st.sampled_from([0, 2**31 - 60]))
@example(seed=14381920, frame=0)
def test_shows_the_greatest_frame_that_came(native: Native, seed: int, frame: int) -> None:
    welcomed(native, numbers=NUMBERS, datagrams=1)
    rng = np.random.default_rng(seed)
    server = Server(rng, frame)
    network = Network(native, server)
    for _ in range(120):
        what = rng.random()
        if what < 0.35:
            network.flight.append(server.values())
        elif what < 0.42:
            network.queue.append(server.structure())
        elif what < 0.75 and network.flight:
            sent = network.flight.pop(int(rng.integers(max(0, len(network.flight) - 6), len(network.flight))))
            for _ in range(rng.choice([0, 1, 2], p=[0.15, 0.8, 0.05])):
                network.deliver(sent)
        elif what < 0.85 and network.queue:
            network.deliver_structure()
        else:
            network.acknowledge(lost=bool(rng.random() < 0.3))
        network.check()
    while network.queue:
        network.deliver_structure()
    # The trouble is over: within some round trips all of it is as the server has it.
    calm = server.frame
    for _ in range(40):
        sent = server.values()
        network.deliver(sent)
        network.acknowledge(lost=False)
        network.check()
    assert set(network.held) == set(server.entities)
    for number, (entity, newest, _) in network.held.items():
        assert entity is server.entities[number]
        assert newest > calm


def test_what_an_acknowledgement_names(native: Native) -> None:
    """Steps of 64 and 65 frames to either side: the ends of ``earlier``, also over the end of 2³²."""
    for begin in (1000, U32 - 70, 2**31 - 10):
        welcomed(native, datagrams=1)
        for frame, result, newest, earlier in (
            (0, OK, 0, 0),
            (64, OK, 64, 1 << 63),
            (0, DROPPED, 64, 1 << 63),
            (63, OK, 64, 1 << 63 | 1),
            (64, DROPPED, 64, 1 << 63 | 1),
            (-1, DROPPED, 64, 1 << 63 | 1),
            (128, OK, 128, 1 << 63),
            (193, OK, 193, 0),
            (128, DROPPED, 193, 0),
            (129, OK, 193, 1 << 63),
        ):
            got = native.take(msgpack.packb([28, 1, (begin + frame) % U32, 5, 0, None, None, None]))
            assert got["result"] == result, frame
            assert (got["view_frame"], got["view_earlier"]) == ((begin + newest) % U32, earlier), frame


def values(frame: int, sseq: int, *, fulls: int = 0, deltas: Sequence[tuple[int, int]] = (), stream: int = 1) -> bytes:
    """VALUES of ``fulls`` at rest where they are, behind ``deltas``: number, frame of the base."""
    d, numbers = len(deltas), [n for n, _ in deltas] + list(range(fulls))
    block = struct.pack(f"<HH{len(numbers)}H", d, fulls, *numbers) + struct.pack(
        f"<{6 * fulls}h", *[frame % 1000] * 6 * fulls
    )
    block += bytes(7 * d) + bytes((frame - base) % U32 for _, base in deltas) + bytes(2 * fulls)
    origin = [0, 0, 0] if fulls else None
    return bytes(msgpack.packb([28, stream, frame, 50 + frame % 1000, sseq, None, origin, b"\0" + block]))


def structure(sseq: int, enters: Sequence[int] = (), leaves: Sequence[int] = ()) -> bytes:
    e, n = len(enters), len(leaves)
    columns = struct.pack("<4H", e, n, 0, 0) + bytes(8 * e) + struct.pack(f"<{e}H", *enters) + bytes(14 * e)
    columns += b"\1\0" * e + struct.pack(f"<{n}H", *leaves) + bytes(2 * e) + b"\x80" * e
    return bytes(msgpack.packb([17, sseq, 50, 1, [0, 0, 0], b"\0" + columns]))


@pytest.mark.parametrize("begin", [0, 2**31 - 300, U32 - 300])
def test_what_waits_finds_its_bases_and_holds_up_what_would_overwrite_them(native: Native, begin: int) -> None:
    """The farthest base of the farthest that waits is 512 frames behind what is refused."""

    def told(frame: int, sseq: int, **rows: Any) -> int:
        rows["deltas"] = [(number, (begin + base) % U32) for number, base in rows.get("deltas", [])]
        return int(native.take(values((begin + frame) % U32, sseq, **rows))["result"])

    welcomed(native, numbers=4, datagrams=1)
    assert native.take(structure(1, range(2)))["result"] == OK
    assert told(1, 1, fulls=2) == OK
    assert told(256, 2, deltas=[(0, 1)]) == WAITS
    assert told(257, 1, fulls=1) == OK
    assert told(513, 2, fulls=2) == DROPPED
    assert told(512, 2, deltas=[(0, 257)]) == WAITS
    assert told(511, 1, deltas=[(0, 257)]) == OK
    got = native.take(structure(2))
    assert (got["result"], got["view_waiting"]) == (OK, 0)
    assert told(513, 2, fulls=2) == OK
    assert told(768, 2, deltas=[(0, 513), (1, 513)]) == OK
    # Late, and named from as far as can be.
    assert told(768 - 64, 2, deltas=[(0, 511)]) == OK
    assert told(768 - 65, 2, fulls=1) == DROPPED
    assert told(768 - 63, 2, deltas=[(0, 510)]) == BROKEN


def test_a_base_is_of_the_one_who_is_there(native: Native) -> None:
    """Number 0 is another entity's from structure message 2 on: what came about the one before is no base."""
    welcomed(native, numbers=4, datagrams=1)
    for data in (structure(1, [0]), values(1, 1, fulls=1), structure(2, [], [0]), structure(3, [0])):
        assert native.take(data)["result"] == OK
    assert native.take(values(2, 1, fulls=1))["result"] == OK  # came late: of who left
    assert native.take(values(3, 3, deltas=[(0, 1)]))["result"] == BROKEN


def test_values_that_are_not_taken(native: Native) -> None:
    assert native.ask("view", 4, 1)["result"] == OK
    assert native.take(values(1, 0))["result"] == DROPPED  # before WELCOME
    welcomed(native, numbers=4)
    assert native.take(values(1, 0))["result"] == DROPPED  # over WebSocket
    welcomed(native, numbers=4, datagrams=1)
    assert native.take(values(1, 0, stream=2))["result"] == DROPPED
    assert native.take(values(1, 0, fulls=1))["result"] == BROKEN  # of nobody
    welcomed(native, numbers=4, datagrams=1)
    long = msgpack.unpackb(values(1, 0))
    assert native.take(msgpack.packb([*long[:7], bytes(5 + 1200)]))["result"] == DROPPED
    assert native.take(msgpack.packb([18, 1, 1, 5, 0, None, None, None]))["result"] == BROKEN  # FRAME over datagrams
