"""When a child is started again."""

from isthmus.fleet.restarts import GIVE_UP, PAUSE_MAX_S, WINDOW_S, Restarts


def test_the_first_restart_is_at_once_and_the_next_ones_wait_longer_each_time() -> None:
    one = Restarts()
    pauses = [one.ended(-9, 0.1 * k) for k in range(GIVE_UP - 1)]
    assert pauses[0] == 0.0
    assert pauses == sorted(pauses, key=lambda pause: pause or 0.0)
    assert max(pause or 0.0 for pause in pauses) <= PAUSE_MAX_S


def test_who_keeps_dying_ends_the_fleet() -> None:
    one = Restarts()
    assert [one.ended(1, 1.0) is None for _ in range(GIVE_UP)] == [False] * (GIVE_UP - 1) + [True]


def test_old_ends_are_forgotten() -> None:
    one = Restarts()
    for k in range(4 * GIVE_UP):
        assert one.ended(-9, k * (WINDOW_S + 1.0)) == 0.0


def test_a_mistake_in_the_options_is_not_tried_again() -> None:
    assert Restarts().ended(78, 0.0) is None
