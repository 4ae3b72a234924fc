"""The probe accepts a stream that tells the truth and rejects each kind of lie.

The stream is made with ``protocol.frames`` and judged by ``bench.wire``, which share no code.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from bench.check import FIRST_ID, Check, verdict
from bench.trajectory import Trajectory, ensure
from protocol.frames import Frame, Structure, encode_frame, encode_structure
from protocol.layouts import GRID_PER_M, OWN

CLIENT, RADIUS_M, TICKS = 2, 50.0, 30


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Trajectory:
    return ensure(tmp_path_factory.mktemp("motion"), "restless", 5, 60, 12)


def stream(motion: Trajectory) -> Iterator[Structure | Frame]:
    """A server without prediction: enters and leaves by the true distance, a full record for everybody each tick."""
    known: set[int] = set()
    sseq = 0
    for tick in range(TICKS):
        p = np.rint(motion.positions(tick) * GRID_PER_M).astype(np.int64)
        m = motion.positions(tick)
        distance = np.hypot(m[:, 0] - m[CLIENT, 0], m[:, 2] - m[CLIENT, 2])
        inside = set(np.flatnonzero(distance <= RADIUS_M).tolist()) - {CLIENT}
        origin = tuple(p[CLIENT].tolist())
        coming, leaving = sorted(inside - known), sorted(known - inside)
        if coming or leaving:
            sseq += 1
            e = len(coming)
            yield Structure(
                sseq, tick, tick + 1, origin, np.array(coming, "<u8") + np.uint64(FIRST_ID), np.array(coming, "<u2"),
                np.zeros(e, "<u2"), (p[coming] - p[CLIENT]).astype("<i2"), np.zeros((e, 3), "<i2"), np.zeros(e, "u1"),
                np.zeros(e, "u1"), [b"\x80"] * e, np.array(leaving, "<u2"),
            )  # fmt: skip
        known = inside
        own = np.zeros(1, OWN)
        own["p"] = p[CLIENT]
        rest = sorted(known)
        yield Frame(
            1, tick + 1, tick, sseq, own.tobytes(), origin, full_number=np.array(rest, "<u2"),
            full_p=(p[rest] - p[CLIENT]).astype("<i2"), full_v=np.zeros((len(rest), 3), "<i2"),
            full_age=np.zeros(len(rest), "u1"), full_yaw=np.zeros(len(rest), "u1"),
        )  # fmt: skip


def judge(motion: Trajectory, messages: list[Structure | Frame]) -> dict[str, Any]:
    check = Check(motion, CLIENT)
    check.begin()
    check.message([16, {"body": FIRST_ID + CLIENT, "radius_m": RADIUS_M}])
    for message in messages:
        data = encode_structure(message) if isinstance(message, Structure) else encode_frame(message)
        check.message(msgpack.unpackb(data))
    return verdict([check])


def test_a_true_stream_is_accepted(motion: Trajectory) -> None:
    found = judge(motion, list(stream(motion)))
    assert found["violations"] == 0, found["first_violation"]
    assert found["ticks"] == TICKS - 1
    assert 0 < found["error_p999_m"] <= found["error_max_m"] < 0.007  # half a grid step on three axes
    assert found["pairs"] > 5 * TICKS


def test_a_missing_entity_is_found(motion: Trajectory) -> None:
    messages = list(stream(motion))
    first = messages[0]
    assert isinstance(first, Structure)
    # One whom the frames then speak of, although it never entered.
    messages[0] = replace(
        first, enter_id=first.enter_id[1:], enter_number=first.enter_number[1:], enter_kind=first.enter_kind[1:],
        enter_p=first.enter_p[1:], enter_v=first.enter_v[1:], enter_age=first.enter_age[1:],
        enter_yaw=first.enter_yaw[1:], enter_blobs=first.enter_blobs[1:],
    )  # fmt: skip
    assert judge(motion, messages)["violations"] > 0


def test_silence_about_an_enter_is_found(motion: Trajectory) -> None:
    messages = [
        replace(m, enter_id=m.enter_id + np.uint64(1)) if isinstance(m, Structure) else m for m in stream(motion)
    ]
    assert judge(motion, messages)["violations"] > 0


def test_a_wrong_position_is_found(motion: Trajectory) -> None:
    messages = list(stream(motion))
    frame = next(m for m in messages[10:] if isinstance(m, Frame))
    frame.full_p = frame.full_p.copy()
    frame.full_p[0, 1] += 8
    found = judge(motion, messages)
    assert found["violations"] == 1
    assert "off by 0.06" in found["first_violation"]


def test_a_stale_own_body_is_found(motion: Trajectory) -> None:
    messages = list(stream(motion))
    first = next(m for m in messages if isinstance(m, Frame))
    last = messages[-1]
    assert isinstance(last, Frame)
    last.own = first.own
    assert "its own body" in judge(motion, messages)["first_violation"]


def test_a_lost_structure_is_found(motion: Trajectory) -> None:
    messages = list(stream(motion))
    later = [m for m in messages if isinstance(m, Structure)][1:]
    if not later:
        pytest.fail("the motion has no second structure: choose another seed")
    messages.remove(later[0])
    assert judge(motion, messages)["violations"] > 0


def test_a_frozen_world_is_found(motion: Trajectory, tmp_path: Path) -> None:
    messages = [m for m in stream(motion) if isinstance(m, Structure) or m.tick in (0, TICKS - 1)]
    assert judge(motion, messages)["violations"] > 0
