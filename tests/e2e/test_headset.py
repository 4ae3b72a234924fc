"""A person with a headset and one at a desktop in one world: head and hands are seen, places and things are reached."""

from math import cos, dist, pi, sin
from typing import Any

from tests.e2e.conftest import Visit, Wear
from tests.e2e.headset import HEAD, LEFT, RIGHT, Headset
from tests.e2e.served import Served
from tests.e2e.visitor import Visitor, distance

SEEN_M = 0.02
"""Samples are told to 4 mm, bodies to 4 mm; what is shown glides there."""
PUSHED_M = 0.3
"""Whoever stands at a place already makes room, and so does the newcomer."""


def _pose(one: Visitor, body: str) -> list[list[float] | None] | None:
    poses: dict[str, list[list[float] | None]] = one.get("poses")
    return poses.get(body)


def _sees(one: Visitor, headset: Headset) -> None:
    """``one`` shows head and hands where they are."""
    body = headset.visitor.get("body")

    def is_seen() -> bool:
        shown = _pose(one, body)
        if shown is None:
            return False
        for part in (HEAD, LEFT, RIGHT):
            there, here = shown[part], headset.part(part)
            if there is None or dist(there[:3], here[:3]) > SEEN_M:
                return False
            if abs(sum(a * b for a, b in zip(there[3:], here[3:], strict=True))) < cos(pi / 180):  # 2°, as quaternions
                return False
        return True

    one.until("to see head and both hands where they are", is_seen)


def test_head_and_hands_are_seen_until_the_headset_is_taken_off(wear: Wear, visitors: Visit, studio: Served) -> None:
    bert = visitors(studio.url, "Bert")
    anna = wear("Anna")
    body = anna.visitor.get("body")
    anna.move(HEAD, (0.1, 1.7, 0.05), (0.0, sin(0.2), 0.0, cos(0.2)))
    anna.move(LEFT, (-0.3, 1.3, -0.4), (sin(0.3), 0.0, 0.0, cos(0.3)))
    anna.move(RIGHT, (0.4, 1.5, -0.5), (0.0, 0.0, sin(-0.4), cos(-0.4)))
    _sees(bert, anna)
    anna.move(RIGHT, (0.2, 0.9, -0.3))
    _sees(bert, anna)
    anna.take_off()
    assert anna.visitor.get("body") == body
    bert.until("to see no hands any more", lambda: _pose(bert, body) is None)
    bert.until("to see the body still", lambda: bert.other(body))
    assert bert.get("crowd") > 0, "more people are about than are told one by one"
    assert anna.visitor.get("rejected") == bert.get("rejected") == 0
    assert anna.visitor.errors == bert.errors == []


def test_teleport_and_turn_are_the_only_moves_of_the_view(wear: Wear, visitors: Visit, studio: Served) -> None:
    anna, bert = wear("Anna"), visitors(studio.url, "Bert")
    body = anna.visitor.get("body")
    anna.move(HEAD, (0.15, 1.6, 0.1))
    begin, origin = anna.part(HEAD), anna.about["origin"]
    anna.visitor.ticks_pass(15)
    assert anna.about["origin"] == origin, "nothing was done, and nothing moves"
    anna.stick(RIGHT, 1.0, 0.0)
    anna.stick(RIGHT, 0.0, 0.0)
    assert abs(anna.about["yaw"] + pi / 6) < 1e-6
    assert dist(anna.part(HEAD)[:3], begin[:3]) < 1e-5, "a turn is about the head"
    anna.move(RIGHT, (0.2, 1.4, -0.2))
    anna.stick(RIGHT, 0.0, -1.0)
    aim = anna.about["aim"]
    assert aim["isOpen"]
    target = (aim["x"], aim["z"])
    assert 2.5 < distance(target, (begin[0], begin[2])) < 8
    anna.stick(RIGHT, 0.0, 0.0)
    anna.visitor.until(f"the body to be at {target}", lambda: distance(anna.visitor.at, target) < PUSHED_M)
    anna.visitor.until("to see again", lambda: anna.about["fade"] == 0)
    assert anna.about["apartM"] < PUSHED_M, "the head is above the body"
    bert.until("to see it there", lambda: distance(bert.where(body), anna.visitor.at) < SEEN_M)
    assert anna.visitor.errors == bert.errors == []


def test_a_cup_is_taken_carried_and_let_go_and_the_bell_rings(wear: Wear, visitors: Visit, studio: Served) -> None:
    anna, bert = wear("Anna"), visitors(studio.url, "Bert")
    body = anna.visitor.get("body")
    cup = next(e for e in anna.visitor.get("entities") if e["kind"] == "cup" and e["components"]["held_by"] == 0)
    x, y, z = cup["position"]
    anna.walk_to((x, z + 0.5))
    anna.hand_to(RIGHT, (x, y, z))
    anna.press(RIGHT, "squeeze", 1.0)
    assert anna.about["holds"][1] == cup["id"], "it is in the hand before the world has decided"

    def seen() -> dict[str, Any]:
        found = bert.other(cup["id"])
        assert found is not None
        return found

    bert.until("to see who has it", lambda: str(seen()["components"]["held_by"]) == body)
    anna.move(RIGHT, (0.3, 1.6, -0.3))
    hand = anna.part(RIGHT)
    bert.until("to see it in the hand", lambda: dist(seen()["position"], hand[:3]) < 0.1)
    assert anna.about["holds"][1] == cup["id"]
    anna.press(RIGHT, "squeeze", 0.0)
    bert.until("to see it on the ground", lambda: seen()["position"][1] < 0.02)
    bell = next(e for e in anna.visitor.get("entities") if e["kind"] == "bell")
    bx, by, bz = bell["position"]
    anna.walk_to((bx, bz + 0.5))
    anna.hand_to(LEFT, (bx, by, bz))
    anna.press(LEFT, "trigger", 1.0)
    bert.until("to see that the bell has rung", lambda: (bert.other(bell["id"]) or {})["components"]["rings"] == 1)
    assert anna.visitor.errors == bert.errors == []
