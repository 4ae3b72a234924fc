"""Records by frame where frames come in any order: bases that later frames made us forget, and what is acknowledged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codes import ProtocolViolation
from protocol.frames import Structure
from protocol.values import WAITING_MAX, Arrivals, ValueRecords, Values


def structure(sseq: int = 1, enter: int | None = 5, leave: bool = False, frame: int = 1) -> Structure:
    n = int(enter is not None)
    s = Structure(sseq, 100, frame, (0, 0, 0), leave_number=np.zeros(int(leave), "<u2"))
    s.enter_id, s.enter_number = np.full(n, enter or 0, "<u8"), np.zeros(n, "<u2")
    s.enter_kind, s.enter_blobs = np.ones(n, "<u2"), [b"\x80"] * n
    s.enter_p = s.enter_v = np.zeros((n, 3), "<i2")
    s.enter_age = s.enter_yaw = np.zeros(n, "u1")
    return s


def values(frame: int, base: int | None = None, sseq: int = 1) -> Values:
    """One value of number 0: x is ``frame``, or one more than that of the record of frame ``base``."""
    f = Values(1, frame, 100, sseq, None, (0, 0, 0))
    n = np.zeros(1, "<u2")
    if base is None:
        f.full_number, f.full_p, f.full_v = n, np.array([[frame % 1000, 0, 0]], "<i2"), np.zeros((1, 3), "<i2")
        f.full_age = f.full_yaw = np.zeros(1, "u1")
    else:
        f.delta_number, f.delta_d, f.delta_dv = n, np.array([[1, 0, 0]], "i1"), np.zeros((1, 3), "i1")
        f.delta_yaw, f.delta_base = np.zeros(1, "u1"), np.array([frame - base], "u1")
    return f


def records(*heard: Values) -> ValueRecords:
    made = ValueRecords()
    made.apply_structure(structure())
    for f in heard:
        assert made.heard(f)
    return made


def x(held: ValueRecords) -> int:
    return int(held.p[0, 0])


def test_a_base_that_a_later_frame_made_us_forget_is_not_acknowledged_and_no_violation() -> None:
    held = records(values(10), values(11), values(12), values(20, base=12), values(15, base=12))
    assert x(held) == 13
    assert not held.heard(values(17, base=11)), "20 named 12, so 11 is forgotten; 17 counts as lost"
    assert held.arrivals.earlier >> 2 & 1 == 0
    assert held.heard(values(18, base=15)), "what is acknowledged is held"
    assert held.heard(values(21, base=18))
    assert x(held) == 15


def test_a_base_that_nobody_made_us_forget_is_a_violation() -> None:
    held = records(values(10), values(12, base=10))
    with pytest.raises(ProtocolViolation, match="no record of frame 11"):
        held.heard(values(13, base=11))


def test_the_enter_is_the_record_of_its_frame() -> None:
    held = records(values(2, base=1))
    assert x(held) == 1


def test_who_has_the_number_now_is_not_moved_by_what_was_said_of_who_had_it() -> None:
    held = records(values(10))
    held.apply_structure(structure(2, 6, leave=True))
    assert held.heard(values(12, base=10, sseq=1))
    assert x(held) == 0
    assert held.heard(values(13, sseq=2))
    assert x(held) == 13
    held.apply_structure(structure(3, None, leave=True))
    assert held.heard(values(14, sseq=2)), "it left"
    with pytest.raises(ProtocolViolation, match="does not live"):
        held.heard(values(15, sseq=3))


def test_what_waits_is_bounded_and_what_is_not_kept_is_not_acknowledged() -> None:
    held = records()
    for frame in range(1, WAITING_MAX + 1):
        assert held.heard(values(frame, sseq=2))
    assert not held.heard(values(WAITING_MAX + 1, sseq=2))
    assert held.arrivals.newest == WAITING_MAX
    assert x(held) == 0
    held.apply_structure(structure(2, None))
    assert held.release() == WAITING_MAX
    assert x(held) == WAITING_MAX


def test_frames_and_structure_pass_the_end_of_32_bits() -> None:
    last = 2**32 - 1
    held = ValueRecords()
    held.sseq = last - 2
    held.apply_structure(structure(last - 1, frame=last - 1))
    assert held.heard(values(last - 1, sseq=last - 1))
    assert x(held) == (last - 1) % 1000
    over = values(5, sseq=0)
    assert held.heard(over), "it waits"
    assert x(held) == (last - 1) % 1000
    for sseq in (last, 0):
        held.count_structure(sseq)
        held.release()
    assert x(held) == 5
    assert (held.arrivals.newest, held.arrivals.earlier) == (5, 1 << 6)


@given(st.lists(st.integers(0, 130), max_size=80), st.sampled_from([1, 2**32 - 60]))
def test_arrivals_are_what_a_set_would_be(ahead: list[int], first: int) -> None:
    arrivals, come, top = Arrivals(), set[int](), first
    for step in ahead:
        frame = top + step - 65
        if frame < first:
            continue
        newest = max(come, default=frame - 1)
        new = frame > newest or (newest - frame <= 64 and frame not in come)
        assert arrivals.is_new(frame % 2**32) == new
        if new and frame % 2**32:  # frame 0 stands for none, and is left out when they wrap
            arrivals.note(frame % 2**32)
            come.add(frame)
            top = max(top, frame)
            assert arrivals.newest == max(come) % 2**32
            assert arrivals.earlier == sum(1 << i for i in range(64) if max(come) - 1 - i in come)


def test_a_structure_with_a_bad_blob_lets_nobody_in() -> None:
    """It was half applied before: whoever went on after the violation met a number without components."""
    held, bad = ValueRecords(), structure()
    bad.enter_blobs = [b"\xff"]
    with pytest.raises(ProtocolViolation):
        held.apply_structure(bad)
    assert not held.live.any()
    held.apply_structure(structure(2))
    assert held.live[0]
