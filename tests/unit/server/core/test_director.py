"""The director: what is lively, and how long a picture stays."""

import numpy as np

from server.core.director import DRIFT_M, HALF_LIFE_S, Crowd, Director, Scene

RATE_HZ = 20
LEAST_S, MOST_S = 6.0, 30.0
Places = list[tuple[float, float]]


def crowd(*groups: tuple[float, float, int], speed: float = 0.0, weight: float = 1.0) -> Crowd:
    """Groups of people (x, z, how many), a metre from each other."""
    at = np.array([(x + k % 3, z + k // 3) for x, z, count in groups for k in range(count)], float).reshape(-1, 2)
    return Crowd(at[:, 0], np.full(len(at), 2.0), at[:, 1], np.full(len(at), speed), np.full(len(at), weight))


def director() -> Director:
    return Director(RATE_HZ, LEAST_S, MOST_S)


def look(made: Director, tick: int, there: Crowd) -> Scene:
    scene = made.look(tick, there)
    assert scene is not None
    return scene


def test_an_empty_world_has_no_picture() -> None:
    assert director().look(5, crowd()) is None


def test_it_shows_the_largest_group_in_its_middle() -> None:
    scene = look(director(), 0, crowd((-300, 40, 3), (200, -100, 9), (0, 0, 2)))
    assert (scene.x, scene.z, scene.y, scene.people) == (201.0, -99.0, 2.0, 9)


def test_a_group_over_the_corner_of_four_cells_counts_as_one() -> None:
    scene = look(director(), 0, crowd((-1.0, -1.0, 9), (300, 300, 7)))
    assert (scene.x, scene.z, scene.people) == (0.0, 0.0, 9)


def test_equal_places_do_not_alternate_and_the_first_is_always_the_same() -> None:
    two = crowd((0, 0, 5), (300, 0, 5))
    scenes = [look(made, 0, two) for made in (director(), director())]
    assert scenes[0] == scenes[1]
    made = director()
    shown = [look(made, tick, two) for tick in range(0, int(MOST_S * RATE_HZ), 10)]
    assert {scene.shot for scene in shown} == {1}


def test_a_shot_lasts_whatever_happens_elsewhere() -> None:
    made = director()
    assert look(made, 0, crowd((0, 0, 5))).x == 0.8
    richer = crowd((0, 0, 5), (300, 0, 40))
    for tick in range(10, int(LEAST_S * RATE_HZ), 10):
        assert look(made, tick, richer).shot == 1
    scene = look(made, int(LEAST_S * RATE_HZ), richer)
    assert (scene.shot, round(scene.x)) == (2, 301)


def test_a_little_more_elsewhere_is_no_reason_and_after_long_enough_it_is() -> None:
    made = director()
    look(made, 0, crowd((0, 0, 6), (300, 0, 5)))
    slightly = crowd((0, 0, 6), (300, 0, 7))
    assert look(made, int(LEAST_S * RATE_HZ) + 10, slightly).shot == 1
    assert look(made, int(MOST_S * RATE_HZ) + 10, slightly).shot == 2
    assert look(made, int(MOST_S * RATE_HZ) + 20, slightly).shot == 2


def test_nothing_else_to_see_keeps_the_picture() -> None:
    made = director()
    for tick in range(0, 5 * int(MOST_S * RATE_HZ), 10):
        assert look(made, tick, crowd((0, 0, 6))).shot == 1


def test_motion_counts() -> None:
    still, moving = crowd((0, 0, 5)), crowd((300, 0, 5), speed=2.0)
    both = Crowd(*(np.concatenate([getattr(still, n), getattr(moving, n)]) for n in ("x", "y", "z", "speed", "weight")))
    assert look(director(), 0, both).x > 200


def test_things_count_little() -> None:
    people, ducks = crowd((0, 0, 4)), crowd((300, 0, 12), weight=0.1)
    both = Crowd(*(np.concatenate([getattr(people, n), getattr(ducks, n)]) for n in ("x", "y", "z", "speed", "weight")))
    assert look(director(), 0, both).x < 100


def test_what_happens_draws_the_camera_and_fades() -> None:
    two = crowd((0, 0, 6), (300, 0, 2))
    made = director()
    assert look(made, 0, two).x < 100
    tick = int(LEAST_S * RATE_HZ)
    for _ in range(6):
        made.happened(tick, 301.0, 1.0, 1.0)
    assert look(made, tick, two).x > 200
    later = tick + int(6 * HALF_LIFE_S * RATE_HZ)
    assert look(made, later, two).x < 100


def test_something_happens_where_nobody_is() -> None:
    made = director()
    made.happened(0, -50.0, 70.0, 1.0)
    scene = look(made, 1, crowd())
    assert (scene.x, scene.z, scene.people) == (-50.0, 70.0, 0)


def test_it_follows_its_people_but_not_each_step() -> None:
    made = director()
    look(made, 0, crowd((0, 0, 6)))
    aims = [look(made, tick, crowd((tick / RATE_HZ, 0, 6))).x for tick in range(0, 20 * RATE_HZ, 10)]
    changes = np.flatnonzero(np.diff(aims))
    assert len(changes) >= 3
    assert (np.diff(aims)[changes] >= DRIFT_M).all()
    assert aims[-1] > 14.0


def test_it_is_deterministic() -> None:
    def run() -> list[Scene | None]:
        rng = np.random.default_rng(5)
        made, shown = director(), []
        at = rng.uniform(-200, 200, (60, 2))
        for tick in range(0, 120 * RATE_HZ, 10):
            at += rng.normal(0, 1.0, at.shape)
            if rng.random() < 0.1:
                x, z = rng.uniform(-200, 200, 2).tolist()
                made.happened(tick, x, z, 1.0)
            none = np.zeros(len(at))
            shown.append(made.look(tick, Crowd(at[:, 0], none, at[:, 1], none + 1.0, none + 1.0)))
        return shown

    first = run()
    assert first == run()
    shots = [scene.shot for scene in first if scene is not None]
    assert shots[-1] > 2
    lengths = np.diff(np.flatnonzero(np.diff([0, *shots])))
    assert (lengths * 10 >= LEAST_S * RATE_HZ).all(), "no shot is shorter than the least"
