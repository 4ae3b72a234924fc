"""What the benchmark of failover reads from a client's frames."""

import pytest

from bench.failover.measure import Frame, Track, answer_s, gap_s, moving_again_s, pose_age_s, still_s

EVERY_S, SPEED_M_S = 0.05, 3.0


def walked(until_s: float, from_s: float = 0.0) -> Track:
    """Somebody walks along x; a command each 0.1 s is taken 0.1 s later."""
    track = Track()
    walk(track, from_s, until_s, SPEED_M_S * from_s)
    return track


def walk(track: Track, from_s: float, until_s: float, x_m: float, taken: int | None = None) -> None:
    """From a place on; ``taken``: the commands that go on being taken, None: all but the newest."""
    for k in range(round((until_s - from_s) / EVERY_S)):
        at_s = from_s + k * EVERY_S
        track.commands.append((at_s, int(at_s * 10)))
        number = int(at_s * 10) - 1 if taken is None else taken
        track.frames.append(Frame(at_s, number, x_m + SPEED_M_S * k * EVERY_S, 0.0))


def stand(track: Track, from_s: float, until_s: float) -> None:
    """Frames go on, and show the same."""
    last = track.frames[-1]
    for k in range(round((until_s - from_s) / EVERY_S)):
        at_s = from_s + k * EVERY_S
        track.commands.append((at_s, int(at_s * 10)))
        track.frames.append(Frame(at_s, last.taken, last.x, last.z))


def test_moving_again_is_the_first_frame_moved_by_a_later_input() -> None:
    track = walked(5.0)
    stand(track, 5.0, 7.0)
    assert moving_again_s(track, 5.0) is None
    walk(track, 7.0, 7.5, 14.0, taken=45)  # what was sent before the fault is taken only now
    assert moving_again_s(track, 5.0) is None
    walk(track, 7.5, 8.0, 15.0)
    assert moving_again_s(track, 5.0) == pytest.approx(2.5)


def test_a_body_that_stands_does_not_move_whatever_is_taken() -> None:
    track = walked(5.0)
    last = track.frames[-1]
    for k in range(20):
        track.commands.append((5.0 + k / 10, 50 + k))
        track.frames.append(Frame(5.0 + k / 10, 50 + k, last.x, last.z))
    assert moving_again_s(track, 5.0) is None


def test_who_was_not_interrupted_moves_at_once() -> None:
    again_s = moving_again_s(walked(6.0), 5.0)
    assert again_s is not None
    assert again_s < 0.3


@pytest.mark.parametrize("older_s", [0.0, 0.35, 0.9])
def test_the_age_of_a_pose_is_how_long_ago_the_body_was_there(older_s: float) -> None:
    track = walked(5.0)
    shown_s = track.frames[-1].at_s
    stand(track, 5.0, 6.5)
    assert pose_age_s(track, 6.0) is None
    walk(track, 6.5, 7.0, SPEED_M_S * (shown_s - older_s) + 0.01)
    assert pose_age_s(track, 6.0) == pytest.approx(older_s, abs=EVERY_S)


def test_gaps_and_answers_are_those_of_the_time_that_is_asked_for() -> None:
    track = walked(5.0)
    walk(track, 5.8, 8.0, 20.0)
    assert gap_s(track, 5.2, 7.0) == pytest.approx(0.85)
    assert gap_s(track, 6.0, 7.0) == pytest.approx(EVERY_S)
    track.acts += [(1.0, 4.0), (5.1, 5.4), (5.2, 6.1)]
    assert answer_s(track, 5.0, 7.0) == pytest.approx(0.9)
    assert answer_s(track, 6.5, 7.0) == 0.0


def test_what_is_old_is_forgotten() -> None:
    track = walked(200.0)
    track.forget(200.0)
    assert track.frames[0].at_s == pytest.approx(80.0)
    assert track.commands[0][0] == pytest.approx(80.0)


def test_who_stands_still_while_frames_go_on_is_noticed() -> None:
    track = walked(5.0)
    stand(track, 5.0, 7.0)
    walk(track, 7.0, 9.0, 15.0)
    assert still_s(track, 4.0, 9.0) == pytest.approx(2.05)
    assert still_s(track, 4.0, 6.0) == pytest.approx(1.05)
    assert still_s(track, 7.5, 8.5) == pytest.approx(EVERY_S)
