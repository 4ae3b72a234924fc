"""What else is shown, in C: head and hands (STANDARD.md §11), channels and their camera (§10), crowds (§12)."""

import math
import struct
from collections.abc import Sequence
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors.check_poses import rotation
from tests.vectors.native import BROKEN, DROPPED, MALFORMED, OK, Native
from tests.vectors.test_native import FRAMES, POSES, WELCOME, check_shown, welcomed
from tests.vectors.test_native_values import structure

HEAD_ALONE = (1 << 30) - 1 | 3 << 30


# ------------------------------------------------------------------------------------------------------- head and hands
def hold(got: dict[str, Any], held: dict[str, Any]) -> None:
    """What an engine keeps of what the decoder tells."""
    for pose in got["poses"][1:]:
        number = str(pose["number"])
        if pose["first"]:
            held.pop(number, None)
        if not pose["told"]:
            continue
        parts: list[Any] = []
        for part in range(3):
            q = pose[f"q{part}"] if pose["turned"] >> part & 1 else [0, 0, 0, 1]
            parts.append({"p": pose[f"p{part}"], "q": q} if pose["tracked"] >> part & 1 else None)
        sample = dict(zip(("head", "left", "right"), parts, strict=True)) | {"back_ms": pose["back_ms"]}
        sample["grip"] = [[pose["grip"][hand], pose["trigger"][hand]] for hand in range(2)]
        held.setdefault(number, []).append(sample)
        assert len(held[number]) + pose["more"] <= 3


def near(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(near(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(near(x, y) for x, y in zip(a, b, strict=True))
    return a is b or math.isclose(a, b, abs_tol=1e-9)


def test_poses_that_are_heard(native: Native) -> None:
    welcomed(native)
    for sseq, numbers in enumerate(([], [], [7, 9, 300]), 1):
        assert native.take(structure(sseq, numbers))["result"] == OK
    held: dict[str, Any] = {}
    for step in POSES["heard"]:
        got = native.ask("take", step["hex"])
        assert got["result"] == OK
        hold(got, held)
        assert near(held, step["held"]), held


def words(pose: Sequence[Any]) -> list[object]:
    """Of a sample of 34 bytes, as the driver writes one: metres, and quaternions as they are told."""
    back_ms, tracked, left, right, *rest = pose
    grips = [(left >> 4) / 15, (right >> 4) / 15, (left & 15) / 15, (right & 15) / 15]
    turns = [c for q in rest[:3] for c in rotation(q, 10, 511)]
    return [back_ms, tracked, *grips, *(p / 1024 for p in rest[3:]), *turns]


def test_poses_that_are_said(native: Native) -> None:
    for vector in POSES["said"]:
        _, stamp, samples = msgpack.unpackb(bytes.fromhex(vector["hex"]))
        given_ = [each for pose in struct.iter_unpack("<4B3I9h", samples) for each in words(pose)]
        assert native.ask("pose", stamp, *given_)["hex"] == vector["hex"]


@pytest.mark.parametrize("vector", POSES["rotations"], ids=lambda v: str(v["q"]))
def test_rotations(native: Native, vector: dict[str, Any]) -> None:
    said_ = native.ask("pose", 1, 0, 1, 0, 0, 0, 0, *[0] * 9, *vector["q"], *[0] * 8)["hex"]
    assert int.from_bytes(bytes.fromhex(said_)[5 + 4 : 5 + 8], "little") == vector["fine"]
    welcomed(native, numbers=2)
    native.take(structure(1, [0, 1]))
    mid = vector["coarse"] | (16 | 16 << 5 | 16 << 10) << 17
    got = native.take(poses(5, 1, near=[(0, [vector["fine"]])], mid=[(1, mid, 0xFFFF, 0x8000)]))["poses"][1:]
    assert got[0]["q0"] == pytest.approx(vector["says"], abs=1e-12)
    assert got[1]["q0"] == pytest.approx(vector["coarse_says"], abs=1e-12)
    assert (got[1]["p0"], got[1]["p2"]) == ([0, 1.25, 0], [-1, 0.25, -1])
    assert (got[1]["tracked"], got[1]["turned"], got[1]["grip"]) == (5, 1, [0, 1])


def poses(
    tick: int,
    sseq: int,
    *,
    near: Sequence[tuple[int, Sequence[int]]] = (),
    mid: Sequence[tuple[int, int, int, int]] = (),
    stream: int = 1,
    tracked: int = 1,
    more: bytes = b"",
) -> bytes:
    """POSES of heads alone: number and rotations of near ones; number, head, hands of farther ones."""
    turns = [q for _, each in near for q in each]
    s = len(turns)
    block = struct.pack("<4H", len(near), len(mid), s, 0) + struct.pack(f"<{s}I", *[512 | 512 << 10 | 512 << 20] * s)
    block += struct.pack(f"<{s}I", *turns) + bytes(16 * s) + b"".join(struct.pack("<I", m[1]) for m in mid)
    for column in ([n for n, _ in near], [m[0] for m in mid], [m[2] for m in mid], [m[3] for m in mid]):
        block += struct.pack(f"<{len(column)}H", *column)
    block += bytes(len(each) for _, each in near) + bytes(s) + bytes([tracked]) * s + bytes(2 * s)
    return bytes(msgpack.packb([32, stream, tick, sseq, b"\0" + block + more]))


def test_the_newest_pose_of_who_is_there_counts(native: Native) -> None:
    def told(*args: Any, **more: Any) -> list[tuple[int, bool]]:
        got = native.take(poses(*args, **more))
        assert got["result"] == OK
        return [(pose["number"], bool(pose["told"])) for pose in got["poses"][1:]]

    welcomed(native, numbers=8)
    native.take(structure(1, [1]))
    native.take(structure(2, [2]))
    one = [HEAD_ALONE]
    assert told(10, 2, near=[(5, one), (1, one), (900, one), (2, one * 2)]) == [(1, True), (2, True), (2, True)]
    assert told(10, 2, near=[(1, one)], mid=[(2, 0, 0xFFFF, 0xFFFF)]) == []  # not newer
    assert told(11, 1, near=[(2, one), (1, [])]) == [(1, False)]  # 2 entered later; 1 has none any more
    assert told(12, 9, mid=[(1, 0, 0xFFFF, 0xFFFF)], more=b"of a later version") == [(1, True)]
    native.take(structure(3, [], [1]))
    native.take(structure(4, [1]))
    assert told(13, 3, near=[(1, one)]) == []
    assert told(11, 4, near=[(1, one)]) == [(1, True)]  # another one, of whom nothing was told yet
    assert native.take(poses(20, 4, stream=2))["result"] == DROPPED
    assert native.take(poses(20, 4, near=[(1, one)], tracked=6))["result"] == MALFORMED
    native.ask("view", 8, 0)
    assert native.take(poses(20, 4))["result"] == DROPPED


@given(
    head=st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    turn=st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4).filter(lambda q: sum(c * c for c in q) > 1e-3),
)
@settings(max_examples=100, deadline=None)
def test_a_said_pose_is_near_what_it_was(native: Native, head: list[float], turn: list[float]) -> None:
    data = msgpack.unpackb(
        bytes.fromhex(native.ask("pose", 3, 9, 1, 0, 0, 0, 0, *head, *[0] * 6, *turn, *[0] * 8)["hex"])
    )
    assert data[:2] == [8, 3]
    sample = struct.unpack("<4B3I9h", data[2])
    assert [p / 1024 for p in sample[7:10]] == pytest.approx(head, abs=0.5 / 1024)
    length = math.sqrt(sum(c * c for c in turn))
    dot = abs(sum(a * b for a, b in zip(rotation(sample[4], 10, 511), turn, strict=True))) / length
    assert math.degrees(2 * math.acos(min(1.0, dot))) < 0.3


def test_poses_that_are_not_allowed_are_not_written(native: Native) -> None:
    def written(tracked: int = 1, turn: Sequence[Any] = (0, 0, 0, 1), head: Any = 0, times: int = 1) -> bool:
        one = [0, tracked, "nan", 2, 0, 0, head, *[0] * 8, *turn, *[0] * 8]
        return native.ask("pose", 1, *one * times)["hex"] is not None

    assert written()
    assert all(written(head=head) for head in ("nan", "inf", "-1e300"))
    assert written(times=3)
    assert not written(times=4)
    assert native.ask("pose", 1)["hex"] is None
    assert not any(written(tracked=tracked) for tracked in (0, 6, 9))
    assert not written(tracked=3)  # a hand that is turned by nothing
    for turn in ((0, 0, 0, 0), ("nan", 0, 0, 1), ("inf", 0, 0, 1), ("1e200", 0, 0, 1), (0, 0, 0, "-inf")):
        assert not written(turn=turn)


# ------------------------------------------------------------------------------------------------------------- channels
def channel(code: int, stream: int = 5) -> bytes:
    return bytes(msgpack.packb([29, code, "pond", stream, "The pond", 5.0, 0, ""]))


def keyframe(sseq: int, frame: int, parts: int, stream: int = 5) -> bytes:
    return bytes(msgpack.packb([30, sseq, stream, frame, 50, parts]))


def frame(number: int, sseq: int, stream: int = 5) -> bytes:
    return bytes(msgpack.packb([18, stream, number, 50 + number, sseq, None, None, None]))


def camera(
    sseq: int, tick: int, move_ms: int, eye: Sequence[int], look: Sequence[int], entity: int | None = None
) -> bytes:
    return bytes(msgpack.packb([31, sseq, 5, tick, move_ms, entity, list(eye), list(look), "what is on"]))


def notice(sseq: int) -> bytes:
    return bytes(msgpack.packb([21, sseq, 1, "text"]))


def acked(native: Native) -> int:
    return int(msgpack.unpackb(bytes.fromhex(native.ask("ack", 1)["hex"]))[1])


def test_a_channel_from_watch_to_off(native: Native) -> None:
    welcomed(native, numbers=8, profile="tv")
    assert acked(native) == 0
    steps: list[tuple[bytes, int, int]] = [
        (notice(1), OK, 0),
        (channel(0), OK, 0),
        (keyframe(7, 100, 2), OK, 0),
        (structure(8, [0, 1]), OK, 0),
        (notice(2), OK, 0),  # of the session's own stream
        (camera(9, 50, 0, (0, 128, 0), (0, 0, 128)), OK, 100),  # the second part
        (frame(101, 9), OK, 101),
        (structure(10, [0], [0]), OK, 101),  # a number is used again at once
        (frame(102, 10), OK, 102),
        (frame(103, 10, stream=4), DROPPED, 102),
        (
            msgpack.packb([23, 3, {}, bytes(8)]),
            OK,
            102,
        ),  # the schema changed: a KEYFRAME follows, nothing is forgotten yet
        (frame(103, 10), OK, 103),
        (channel(1), OK, 103),  # what was watched goes on
        (keyframe(30, 300, 1), OK, 0),  # it was too slow
        (structure(31, [0, 5]), OK, 300),
        (channel(0, 6), OK, 0),
        (keyframe(1, 3, 0, stream=6), OK, 3),
        (channel(3, 0), OK, 0),
    ]
    for data, result, frame_acked in steps:
        assert native.take(data)["result"] == result, data
        assert acked(native) == frame_acked, data
    assert native.shown(50) == {}
    for data in (frame(4, 1, stream=0), structure(2, [1]), keyframe(1, 1, 0, stream=0)):
        assert native.take(data)["result"] == BROKEN


@pytest.mark.parametrize(
    "broken",
    [
        frame(102, 7),  # a gap
        frame(101, 6),
        structure(9, [2]),
        camera(9, 50, 0, (0, 0, 0), (0, 0, 0)),
        keyframe(7, 100, 0, stream=6),
        notice(2),
    ],
    ids=["frame", "frame's sseq", "structure", "camera", "keyframe's stream", "notice"],
)
def test_channels_that_are_broken(native: Native, broken: bytes) -> None:
    welcomed(native, numbers=8, profile="tv")
    for data in (channel(0), keyframe(7, 100, 0)):
        assert native.take(data)["result"] == OK
    assert native.take(broken)["result"] == BROKEN


def test_nothing_of_a_channel_before_its_keyframe_and_to_no_other_profile(native: Native) -> None:
    for data in (frame(1, 0), structure(1, [2]), camera(1, 50, 0, (0, 0, 0), (0, 0, 0))):
        welcomed(native, numbers=8, profile="tv")
        assert native.take(channel(0, 5))["result"] == OK
        assert native.take(data)["result"] == BROKEN
    welcomed(native, numbers=8, profile="tv")
    assert native.take(keyframe(1, 1, 0))["result"] == BROKEN
    assert native.take(channel(0))["result"] == OK
    assert native.take(keyframe(1, 1, 1))["result"] == OK
    assert native.take(frame(2, 1))["result"] == BROKEN  # half a keyframe
    for data in (channel(0), keyframe(1, 1, 0), camera(1, 50, 0, (0, 0, 0), (0, 0, 0))):
        welcomed(native, numbers=8)
        assert native.take(data)["result"] == BROKEN


def test_the_camera_cuts_glides_and_follows(native: Native) -> None:
    def seen(tick: float) -> tuple[list[float], list[float]] | None:
        got = native.ask("camera", tick)
        return (got["eye"], got["look"]) if "eye" in got else None

    welcomed(native, numbers=8, profile="tv")
    rate_hz = msgpack.unpackb(bytes.fromhex(WELCOME))[1]["rate_hz"]
    for data in (channel(0), keyframe(0, 0, 0)):
        assert native.take(data)["result"] == OK
    assert seen(50) is None
    native.take(camera(1, 50, 0, (128, 0, 0), (0, 0, -256)))
    assert seen(10) == seen(90) == ([1, 0, 0], [0, 0, -2])
    native.take(camera(2, 60, 1000, (384, 128, 0), (0, 0, 0)))
    assert seen(59) == seen(60) == ([1, 0, 0], [0, 0, -2])
    assert seen(60 + rate_hz / 4) == ([1.5, 0.25, 0], [0, 0, -1.5])
    # Another glide from where it is; it ends at an entity that moves.
    native.take(camera(3, 60 + rate_hz // 2, 500, (0, 128, 0), (0, 0, 0), 9))
    assert seen(1000) == ([2, 0.5, 0], [0, 0, -1])  # until that one is there
    columns = struct.pack("<4HQ2H", 1, 0, 0, 0, 9, 4, 1) + struct.pack("<6h", 256, 0, 0, 32, 0, 0)
    entering = msgpack.packb([17, 4, 70, 1, [0, 0, 0], b"\0" + columns + b"\1\0" + b"\0\0" + b"\x80"])
    assert native.take(entering)["result"] == OK
    x = 2 + 32 * (90 - 70) / 2048
    assert seen(90) == ([x, 1, 0], [x, 0, 0])
    check_shown(native, 90, {"9": [x, 0, 0]})
    native.take(camera(5, 91, 0, (0, 0, 0), (0, 0, 0), 10))
    assert seen(91) is None


# --------------------------------------------------------------------------------------------------------------- crowds
def crowd(tick: int, cells: Sequence[Sequence[int]], side: int = 32, stream: int = 1) -> bytes:
    columns = struct.pack("<2H", len(cells), side)
    for code, column in zip("hhHhh", range(5), strict=True):
        columns += struct.pack(f"<{len(cells)}{code}", *(cell[column] for cell in cells))
    return bytes(msgpack.packb([33, stream, tick, b"\1\0" + columns + b"more"]))


def test_crowds_of_the_vectors(native: Native) -> None:
    welcomed(native)
    for vector in FRAMES["crowds"]:
        got, items = native.ask("take", vector["hex"]), vector["items"]
        assert (got["result"], got["stream"], got["tick"]) == (OK, items["stream"], items["tick"])
        assert got["cells"] == [
            list(row) for row in zip(*(items[k] for k in ("x", "z", "count", "vx", "vz")), strict=True)
        ]
        assert got["side_m"] == items["side_m"] or not got["cells"]


def test_crowds(native: Native) -> None:
    cells = [[-3, 4, 65_535, -32_768, 7], [0, 1, 2, 3, 4]]
    assert native.ask("view", 8, 0)["result"] == OK
    assert native.take(crowd(9, cells))["result"] == DROPPED
    welcomed(native)
    got = native.take(crowd(9, cells))
    assert (got["result"], got["cells"], got["side_m"]) == (OK, cells, 32)
    assert native.take(crowd(9, []))["result"] == DROPPED  # not newer
    assert native.take(crowd(10, [], stream=2))["result"] == DROPPED
    assert native.take(crowd(10, cells, side=0))["result"] == MALFORMED
    assert native.take(crowd(10, []))["cells"] == []
    welcomed(native)
    assert native.take(crowd(9, cells))["result"] == OK
