"""VALUES in C against a plain server and a network that loses, doubles and reorders (STANDARD.md §9.4).

The server here knows what it sent and which acknowledgements reached it, and names bases by the standard; the
client's view must show, of each entity that is in it, the record of the greatest frame that came. Nothing of
protocol/*.py is used.
"""

import struct
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.vectors.native import DROPPED, OK, WAITS, Native, said
from tests.vectors.test_native import CLIENT_MESSAGE_BYTES, welcomed

NUMBERS = 8
U32 = 2**32


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
@given(seed=st.integers(0, U32 - 1), records=st.sampled_from([10, 24, 4096]), frame=st.sampled_from([0, 2**31 - 60]))
@example(seed=14381920, records=10, frame=0)
def test_shows_the_greatest_frame_that_came(native: Native, seed: int, records: int, frame: int) -> None:
    welcomed(native, numbers=NUMBERS, records=records, waiting=3, datagrams=1)
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


def test_what_waits_has_its_room_and_no_more_is_taken_than_fits(native: Native) -> None:
    """Two entities and room for four older records: whatever counts as come must be held later on."""

    def told(frame: int, sseq: int) -> int:
        full = struct.pack("<HH2H12h4B", 0, 2, 0, 1, *range(12), 0, 0, 0, 0)
        got = native.take(msgpack.packb([28, 1, frame, 50 + frame, sseq, None, [0, 0, 0], b"\0" + full]))
        return int(got["result"])

    def structure(sseq: int, enters: int) -> int:
        columns = struct.pack("<4H", enters, 0, 0, 0) + bytes(8 * enters)
        columns += struct.pack(f"<{enters}H", *range(enters)) + bytes(14 * enters) + b"\1\0" * enters
        columns += bytes(2 * enters) + b"\x80" * enters
        return int(native.take(msgpack.packb([17, sseq, 50, 1, [0, 0, 0], b"\0" + columns]))["result"])

    welcomed(native, numbers=2, records=4, waiting=1, datagrams=1)
    assert structure(1, 2) == OK
    assert told(1, 1) == OK  # instead of the enters' records
    assert told(2, 2) == WAITS
    assert told(3, 2) == DROPPED  # one waits already
    assert told(4, 1) == OK
    assert told(5, 1) == DROPPED  # the last two places are those of 2
    assert structure(2, 0) == OK
    assert told(6, 2) == DROPPED  # 1 and 2 are held beside 4
    assert native.shown(54.0)["0"][3] == 0
    assert native.ask("ack", 0)["hex"] == msgpack.packb([3, 4, 0, 0b110]).hex()
    assert told(320, 2) == DROPPED  # 256 might still come, and name the record of 1
    assert told(321, 2) == OK


@pytest.mark.parametrize("way", [[], [2**30, 2**31]], ids=["first", "half of all frames later"])
def test_what_waits_counts_as_come_only_with_its_bases(native: Native, way: list[int]) -> None:
    """One that found no room, far ahead, released what a late one names whose structure message is still to come."""
    welcomed(native, numbers=4, records=4, waiting=2, datagrams=1)
    begin = way[-1] if way else 0

    def told(frame: int, sseq: int, fulls: int, base: int | None = None) -> int:
        deltas = 0 if base is None else 1
        block = struct.pack(f"<HH{deltas + fulls}H", deltas, fulls, *range(deltas + fulls)) + bytes(12 * fulls)
        block += bytes(7 * deltas) + bytes([] if base is None else [frame - base]) + bytes(2 * fulls)
        origin = [0, 0, 0] if fulls else None
        return int(native.take(msgpack.packb([28, 1, frame, 50, sseq, None, origin, b"\0" + block]))["result"])

    def structure(sseq: int, enters: range) -> int:
        e = len(enters)
        columns = struct.pack("<4H", e, 0, 0, 0) + bytes(8 * e) + struct.pack(f"<{e}H", *enters) + bytes(14 * e)
        columns += b"\1\0" * e + bytes(2 * e) + b"\x80" * e
        return int(native.take(msgpack.packb([17, sseq, 50, 1, [0, 0, 0], b"\0" + columns]))["result"])

    assert structure(1, range(1)) == OK
    assert [told(frame, 1, 1) for frame in way] == [OK] * len(way)
    assert told(begin + 1, 1, 1) == OK
    assert told(begin + 2, 1, 1) == OK
    assert told(begin + 230, 2, 0, begin + 1) == WAITS
    assert structure(2, range(0)) == OK
    assert told(begin + 270, 3, 1) == WAITS
    assert told(begin + 400, 3, 4) == DROPPED  # three places are free, and 1 went for them
    assert told(begin + 240, 3, 0, begin + 1) == DROPPED
    assert told(begin + 241, 3, 0, begin + 230) == WAITS
    assert structure(3, range(1, 4)) == OK


@given(
    text=st.lists(st.binary(max_size=60), max_size=8),
    order=st.randoms(use_true_random=False),
    begin=st.sampled_from([0, U32 - 20]),
)
@settings(max_examples=60, deadline=None)
def test_a_reliable_stream_arrives_whole(native: Native, text: list[bytes], order: Any, begin: int) -> None:
    """Pieces of all sizes, in any order, some twice, over the end of 2³²."""
    stream = b"".join(struct.pack("<I", len(each)) + each for each in text)
    cuts = sorted({0, len(stream), *(order.randint(0, len(stream)) for _ in range(12))})
    pieces = [(a, stream[a : b + order.randint(0, 9)]) for a, b in pairwise(cuts)]
    pieces += order.sample(pieces, len(pieces) // 2)
    order.shuffle(pieces)
    native.ask("new", CLIENT_MESSAGE_BYTES, begin)
    got: list[str] = []
    have: set[int] = set()
    for at, piece in pieces:
        answer = native.ask("flow", (begin + at) % U32, "." + piece.hex())
        have |= set(range(at, at + len(piece)))
        whole = next(i for i in range(len(stream) + 1) if i not in have)
        assert (answer["result"], answer["received"]) == (OK, (begin + whole) % U32)
        got += [m["hex"] for m in answer["messages"][1:]]
    assert got == [each.hex() for each in text]


def test_more_gaps_than_are_kept(native: Native) -> None:
    """The piece behind one gap too many is not kept; the stream goes on when it is said again."""
    native.ask("new", CLIENT_MESSAGE_BYTES, 0)
    stream = struct.pack("<I", 196) + bytes(range(196))
    results = [native.ask("flow", at, said(stream[at : at + 2]))["result"] for at in range(1, 160, 4)]
    assert results == [OK] * 32 + [DROPPED] * 8
    got = [native.ask("flow", at, said(stream[at : at + 5])) for at in range(0, 200, 5)]
    assert [len(each["messages"]) for each in got] == [1] * 39 + [2]
    assert got[-1]["messages"][1]["hex"] == stream[4:].hex()


def test_a_reliable_stream_longer_than_its_memory(native: Native) -> None:
    """Three times through it, with pieces in pairs that are the wrong way round, and messages up to the longest."""
    sizes = [CLIENT_MESSAGE_BYTES, 0, 9, 50_000, 1, 65_000, 3] * 2
    messages = [bytes([i]) * size for i, size in enumerate(sizes)]
    stream = b"".join(struct.pack("<I", len(each)) + each for each in messages)
    pieces = [(at, stream[at : at + 1171]) for at in range(0, len(stream), 1171)]
    native.ask("new", CLIENT_MESSAGE_BYTES, U32 - 1000)
    got: list[str] = []
    for pair in zip(pieces[1::2], pieces[::2], strict=False):
        for at, piece in pair:
            answer = native.ask("flow", (U32 - 1000 + at) % U32, "." + piece.hex())
            assert answer["result"] == OK
            got += [m["hex"] for m in answer["messages"][1:]]
    if len(pieces) % 2:
        at, piece = pieces[-1]
        got += [m["hex"] for m in native.ask("flow", (U32 - 1000 + at) % U32, "." + piece.hex())["messages"][1:]]
    assert got == [each.hex() for each in messages]


@given(steps=st.lists(st.integers(-400, 40), max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_sequence_is_taken_once(native: Native, steps: list[int]) -> None:
    native.ask("new", CLIENT_MESSAGE_BYTES, 0)
    newest, had = 0, set[int]()
    for step in steps:
        sequence = max(0, newest + step)
        expected = sequence > 0 and sequence not in had and newest - sequence < 256
        assert (native.ask("window", sequence)["result"] == 1) == expected
        if expected:
            had.add(sequence)
            newest = max(newest, sequence)
