"""Rotations in 32 bits, POSE and POSES: round trips within their bounds, and any bytes."""

from contextlib import suppress
from math import acos, degrees, sqrt
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from protocol.codes import ProtocolViolation
from protocol.messages import Pose, decode_client, encode_client
from protocol.pose_layout import SAMPLE
from protocol.poses import (
    Part,
    PoseRecords,
    Poses,
    Sample,
    decode_poses,
    encode_poses,
    encode_samples,
    mid_sample,
    near_sample,
    pack_rotation,
    samples_of,
    to_coarse,
    unpack_rotation,
)

COMPONENTS = st.floats(-1.0, 1.0)
TURNS = st.tuples(COMPONENTS, COMPONENTS, COMPONENTS, COMPONENTS).filter(lambda q: sum(c * c for c in q) > 1e-6)
U32 = st.integers(0, 2**32 - 1)
HEAD = Part((0.0, 1.7, 0.0))


def apart(a: Any, b: Any) -> float:
    """Degrees between two rotations."""
    length = sqrt(sum(c * c for c in a)) * sqrt(sum(c * c for c in b))
    return degrees(2 * acos(min(1.0, abs(sum(x * y for x, y in zip(a, b, strict=True))) / length)))


@given(turn=TURNS)
@example(turn=(0.5, 0.5, 0.5, 0.5))
@example(turn=(0.0, 0.0, 0.0, -1.0))
def test_a_rotation_keeps_its_bound(turn: Any) -> None:
    fine = pack_rotation(turn)
    assert fine < 2**32
    assert apart(turn, unpack_rotation(fine)) <= 0.3
    assert apart(turn, unpack_rotation(to_coarse(fine), 15, 5)) <= 10.3


@given(packed=U32)
@example(packed=2**32 - 1)
def test_any_bits_are_a_unit_rotation(packed: int) -> None:
    for q in (
        unpack_rotation(packed),
        unpack_rotation(packed & 0x1FFFF, 15, 5),
        unpack_rotation(to_coarse(packed), 15, 5),
    ):
        assert sum(c * c for c in q) == pytest.approx(1.0)


@pytest.mark.parametrize("turn", [(0, 0, 0, 0), (1, 2, 3), (float("nan"), 0, 0, 1), (float("inf"), 0, 0, 1)])
def test_what_is_no_rotation_is_refused(turn: Any) -> None:
    with pytest.raises(ValueError, match="rotation"):
        pack_rotation(turn)


@given(stamp=U32, places=st.lists(st.tuples(*[st.floats(-31, 31)] * 3), min_size=1, max_size=3), turn=TURNS)
def test_a_pose_keeps_its_samples(stamp: int, places: Any, turn: Any) -> None:
    samples = [Sample(Part(p, turn), None, Part(p), ((0.5, 1), (0, 0)), 10 * k) for k, p in enumerate(places)]
    pose = decode_client(encode_client(Pose(stamp, encode_samples(samples))))
    assert isinstance(pose, Pose)
    assert pose.stamp_ms == stamp
    rows = samples_of(pose)
    assert rows["tracked"].tolist() == [5] * len(places)
    np.testing.assert_allclose(rows["p"][:, 0] / 1024, places, atol=0.5 / 1024 + 1e-9)
    np.testing.assert_array_equal(rows["p"][:, 1], 0)
    assert rows["back_ms"].tolist() == [10 * k for k in range(len(places))]


@pytest.mark.parametrize("count", [0, 4])
def test_a_pose_has_one_to_three_samples(count: int) -> None:
    with pytest.raises(ValueError, match="samples"):
        encode_samples([Sample(HEAD)] * count)
    with pytest.raises(ProtocolViolation):
        decode_client(encode_client(Pose(1, bytes(count * SAMPLE.itemsize))))
    with pytest.raises(ProtocolViolation):
        decode_client(encode_client(Pose(1, bytes(33))))


def message(
    rng: np.random.Generator, near: list[int], counts: list[int], mid: list[int], tick: int, sseq: int
) -> Poses:
    """A POSES message of these numbers, of random bits."""
    samples = sum(counts)

    def bits(dtype: str, *shape: int) -> Any:
        return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)

    return Poses(
        1, tick, sseq, np.array(near, "<u2"), np.array(counts, "u1"), bits("<u4", samples, 3), bits("<u4", samples, 3),
        bits("u1", samples), bits("u1", samples) & 6 | 1, bits("u1", samples, 2), np.array(mid, "<u2"),
        bits("<u4", len(mid)), bits("<u2", len(mid), 2),
    )  # fmt: skip


NUMBERS = st.lists(st.integers(0, 9), max_size=5)


@given(data=st.data())
def test_poses_are_read_as_they_were_written(data: st.DataObject) -> None:
    near, mid = data.draw(NUMBERS), data.draw(NUMBERS)
    counts = [data.draw(st.integers(0, 3)) for _ in near]
    made = message(np.random.default_rng(data.draw(U32)), near, counts, mid, data.draw(st.integers(0, 2**53)), 2)
    encoded = encode_poses(made)
    read = decode_poses(encoded)
    assert read is not None
    for name in Poses.__slots__:
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name))
    assert (len(encoded) - 8 - 28 * sum(counts) - 3 * len(near) - 10 * len(mid)) % 4 == 0, "aligned to 4"
    records = PoseRecords()
    for number in range(0, 10, 2):
        records.entered(number, 1)
    records.apply(read)
    for number, held in records.held.items():
        assert number % 2 == 0
        assert 1 <= len(held.samples) <= 3


@given(data=st.data())
def test_bytes_that_break_the_standard(data: st.DataObject) -> None:
    made = bytearray(encode_poses(message(np.random.default_rng(1), [1, 2], [3, 0], [4], 100, 1)))
    made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 3))
    with suppress(ProtocolViolation):
        read = decode_poses(bytes(made[: len(made) - cut]))
        assert read is None or len(read.near_p) == len(read.back_ms)


def test_what_a_later_version_adds_behind_the_columns_is_passed_over() -> None:
    made = encode_poses(message(np.random.default_rng(1), [1, 2], [3, 0], [4], 100, 1))
    *items, block = msgpack.unpackb(made)
    longer, cut = (decode_poses(msgpack.packb([*items, block + more])) for more in (b"more", b""))
    assert longer is not None
    assert cut is not None
    np.testing.assert_array_equal(longer.grip, cut.grip)
    with pytest.raises(ProtocolViolation):
        decode_poses(msgpack.packb([*items, block[:-1]]))


@given(items=st.lists(st.integers(-1, 2**63) | st.binary(max_size=60) | st.none(), max_size=6))
def test_items_of_any_sort(items: list[Any]) -> None:
    data = msgpack.packb([32, *items])
    with suppress(ProtocolViolation):
        decode_poses(data)
    with suppress(ProtocolViolation):
        decode_client(msgpack.packb([8, *items]))


def test_the_newest_counts_and_only_of_who_is_there() -> None:
    rng = np.random.default_rng(2)
    records = PoseRecords()
    records.entered(1, 5)
    records.apply(message(rng, [1], [1], [], 100, 4))
    assert not records.held, "of whoever had the number before"
    records.apply(message(rng, [1], [2], [], 100, 5))
    first = records.held[1]
    records.apply(message(rng, [], [], [1], 99, 5))
    assert records.held[1] is first, "an older one came late"
    records.apply(message(rng, [], [], [1], 101, 5))
    assert len(records.held[1].samples) == 1
    records.apply(message(rng, [1], [0], [], 102, 6))
    assert not records.held, "no pose any more"
    records.apply(message(rng, [1], [1], [], 101, 6))
    assert not records.held, "and what comes late does not bring it back"
    records.left(1)
    records.apply(message(rng, [1], [1], [], 103, 6))
    assert not records.held


@given(
    p=st.tuples(*[st.integers(0, 2**30 - 1)] * 3),
    q=st.tuples(U32, U32, U32),
    hands=st.tuples(*[st.integers(0, 65535)] * 2),
)
def test_any_bits_are_a_sample(p: Any, q: Any, hands: Any) -> None:
    assume(p[0] >= 0)
    sample = near_sample(p, q, 3, 7, (255, 0))
    assert sample.left is not None
    assert all(abs(a - b) <= 2 for a, b in zip(sample.left.p, sample.head.p, strict=True))
    mid = mid_sample(q[0], hands)
    assert (mid.left is None) == (hands[0] == 65535)
    assert abs(mid.head.p[0]) <= 1
