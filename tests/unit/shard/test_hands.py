"""Things in hands: one has it, it follows the hand, it flies when it is let go; over borders, and while one is away."""

from typing import Any

import numpy as np
import pytest

from protocol.acting import AnswerCode
from protocol.link import Upward
from protocol.poses import Part, Sample
from shard.behaviours.api import DeclarationError, Script
from shard.behaviours.hands import Hands
from shard.behaviours.teleport import Teleport
from shard.behaviours.world import Rows, World
from shard.config import ShardConfig
from shard.region import RegionCore
from tests.unit.shard.actors import act
from tests.unit.shard.seam import TWO, Net, Seam
from tests.unit.shard.test_poses import pose
from tests.unit.shard.worlds import attach, boxes, place

RATE_HZ = 20


def things() -> Script:
    """Cups and a cart, a bell, and places to jump to."""
    script = Script("things")
    hands = Hands(script)
    hands.grabbable("cup")
    hands.seat("cart", height_m=0.5)
    script.kind("bell", [script.component("rings", "u4")])
    Teleport(script, range_m=6.0)

    @script.start
    def begin(world: World) -> None:
        world.spawn("cup", 2, pos=[[0.2, 1.1, -0.4], [30.0, 0.0, 0.0]])
        world.spawn("cart", pos=[1.0, 0.0, 1.0])
        world.spawn("bell", pos=[0.0, 1.2, -0.5])

    @hands.pressable("bell")
    def ring(world: World, bells: Rows, people: Rows) -> list[int]:
        bells.rings += 1
        return [int(bells.rings[0])]

    return script


def reaching(x: float = 0.2, y: float = 1.1, z: float = -0.4) -> Sample:
    """A right hand there, relative to the body."""
    return Sample(Part((0.0, 1.7, 0.0)), None, Part((x, y, z)))


class Room:
    """A region with people (sessions 1, 2 …) in its middle."""

    def __init__(self, people: int = 2) -> None:
        self.core = RegionCore(ShardConfig(seed=1), place(boxes((3.0, -1.0, 4.0, 1.0, 0.0, 3.0))), [things()])
        self.tick = self.seq = 0
        self.numbers: dict[int, int] = {}
        self.told: list[Any] = []
        given = [entry for entry in self.step(attach(1, *range(1, people + 1))) if entry]
        assert given == []
        table = self.core.state.table
        self.body = {s: int(table.id[r]) for s, r in self.core.state.row_of_session.items()}
        for session in self.body:
            self.put(session, 0.7 * (session - 1), 0.0)
        self.cup, self.far_cup = table.id[table.rows(self.kind("cup"))].tolist()
        self.cart, self.bell = (int(table.id[table.rows(self.kind(k))][0]) for k in ("cart", "bell"))

    def kind(self, name: str) -> int:
        return self.core.state.registry.kind_number[name]

    def row(self, entity: int) -> int:
        return self.core.state.table.row(entity)

    def put(self, session: int, x: float, z: float, yaw: float = 0.0) -> None:
        row = self.row(self.body[session])
        self.core.state.table.pos[row], self.core.state.table.yaw[row] = [x, 0.0, z], yaw

    def pos(self, entity: int) -> Any:
        return self.core.state.table.pos[self.row(entity)].copy()

    def held_by(self, entity: int) -> int:
        return int(self.core.state.table.columns["c.held_by"][self.row(entity)])

    def step(self, *messages: Upward) -> list[Any]:
        """One tick; [session, code, value] of each answer."""
        self.tick += 1
        for message in messages:
            self.seq += 1
            message.gateway, message.seq, message.tick = 1, 100 + self.seq, self.tick
        result = self.core.step(self.tick, list(messages))
        assert not result.faults, result.faults
        self.told += result.delta.events
        return [[session, code, value] for session, _, code, value, _ in result.delta.answers]

    def act(self, session: int, name: str, payload: Any = None) -> Upward:
        """The next act of a session."""
        self.numbers[session] = number = self.numbers.get(session, 0) + 1
        return act((number, name, payload), session=session)

    def do(self, session: int, name: str, payload: Any = None) -> Any:
        """(code, value) that it is answered."""
        (answer,) = self.step(self.act(session, name, payload))
        return answer[1], answer[2]

    def reach(self, session: int, sample: Sample) -> Upward:
        """A hand is there."""
        row = self.row(self.body[session])
        return pose(row, int(self.core.state.table.generation[row]), sample)


def grab(thing: int, hand: str = "right") -> dict[str, Any]:
    return {"thing": thing, "hand": hand}


def test_of_two_who_grab_one_has_it_and_the_other_is_told() -> None:
    room = Room()
    answers = room.step(room.act(2, "grab", grab(room.cup)), room.act(1, "grab", grab(room.cup)))
    assert answers == [
        [2, AnswerCode.DONE, {"thing": room.cup, "held": True}],
        [1, AnswerCode.REFUSED, "somebody has it"],
    ]
    assert room.held_by(room.cup) == room.body[2]


def test_a_thing_follows_the_hand_in_the_same_tick() -> None:
    room = Room()
    room.step(room.reach(1, reaching()))
    assert room.do(1, "grab", grab(room.cup))[0] == AnswerCode.DONE
    for k in range(20):
        room.put(1, 0.0, 0.1 * k, 0.3 * k)
        room.step(room.reach(1, reaching(0.2, 1.1 + 0.01 * k, -0.4)))
        np.testing.assert_allclose(room.pos(room.cup), [0.2, 1.1 + 0.01 * k, 0.1 * k - 0.4], atol=0.002)


def test_without_tracked_hands_it_is_carried_before_the_body() -> None:
    room = Room()
    assert room.do(1, "grab", grab(room.cup))[0] == AnswerCode.DONE
    room.put(1, 5.0, 5.0, np.pi / 2)
    room.step()
    np.testing.assert_allclose(room.pos(room.cup), [4.6, 1.2, 5.0], atol=1e-6)


def test_what_is_let_go_flies_on_and_lands() -> None:
    room = Room()
    room.step(room.reach(1, reaching()))
    room.do(1, "grab", grab(room.cup))
    for k in range(1, 6):
        room.step(room.reach(1, reaching(0.2 - 0.1 * k, 1.1 + 0.05 * k, -0.4)))
    before = room.pos(room.cup)[1]
    code, value = room.do(1, "release", {"hand": "right"})
    assert code == AnswerCode.DONE
    assert room.held_by(room.cup) == 0
    np.testing.assert_allclose(value["vel"], [-2.0, 1.0, 0.0], atol=0.4)
    heights = [room.pos(room.cup)[1]]
    for _ in range(40):
        room.step()
        heights.append(room.pos(room.cup)[1])
    assert max(heights) > before
    assert heights[-1] == 0.0
    assert room.pos(room.cup)[0] < -1.0
    assert not room.core.state.table.vel[room.row(room.cup)].any()
    assert room.do(1, "release", {"hand": "right"}) == (AnswerCode.REFUSED, "that hand is empty")


def test_a_thrown_thing_is_stopped_by_a_wall_and_by_nothing_faster_than_an_arm() -> None:
    room = Room()
    room.do(1, "grab", grab(room.cup))
    table = room.core.state.table
    table.vel[room.row(room.cup)] = [100.0, 3.0, 0.0]
    _, value = room.do(1, "release", {"hand": "right"})
    assert np.linalg.norm(value["vel"]) == pytest.approx(12.0)
    for _ in range(40):
        room.step()
    assert 1.0 < room.pos(room.cup)[0] < 3.0


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ({"thing": "cup", "hand": "right"}, "thing"),
        ({"thing": 7, "hand": "third"}, "hand"),
        (None, "thing"),
        ({"thing": 1 << 40, "hand": "left"}, "no such thing"),
    ],
)
def test_nonsense_is_refused(payload: Any, why: str) -> None:
    code, text = Room().do(1, "grab", payload)
    assert code == AnswerCode.REFUSED
    assert why in text


def test_reach_and_full_hands() -> None:
    room = Room()
    assert room.do(1, "grab", grab(room.far_cup)) == (AnswerCode.REFUSED, "it is out of reach")
    room.step(room.reach(1, reaching(-0.6, 1.0, 0.3)))
    assert room.do(1, "grab", grab(room.cup)) == (AnswerCode.REFUSED, "it is out of reach")
    room.step(room.reach(1, reaching()))
    room.do(1, "grab", grab(room.cup))
    assert room.do(1, "grab", grab(room.far_cup)) == (AnswerCode.REFUSED, "that hand holds something")
    assert room.do(1, "grab", grab(room.cup, "left"))[0] == AnswerCode.DONE, "from one hand into the other"
    assert room.do(1, "release", {"hand": "left"})[0] == AnswerCode.DONE


def test_who_leaves_the_world_lets_go_and_who_is_away_does_not() -> None:
    room = Room()
    room.do(1, "grab", grab(room.cup))
    room.step(Upward(0, 0, 0, detach=[[1, 1, False, room.body[1]]]))
    for _ in range(30):
        room.step()
    assert room.held_by(room.cup) == room.body[1]
    room.step(Upward(0, 0, 0, detach=[[1, 1, True, room.body[1]]]))
    for _ in range(30):
        room.step()
    assert room.held_by(room.cup) == 0
    assert room.pos(room.cup)[1] == 0.0
    assert room.do(2, "grab", grab(room.cup))[0] == AnswerCode.DONE


def test_a_press_is_answered_by_the_author() -> None:
    room = Room()
    assert room.do(1, "press", grab(room.bell)) == (AnswerCode.DONE, 1)
    assert room.do(2, "press", grab(room.bell)) == (AnswerCode.DONE, 2)
    assert room.do(2, "press", grab(room.cup)) == (AnswerCode.REFUSED, "there is no such thing to press")


def test_one_sits_and_rides_and_stands_up() -> None:
    room = Room()
    assert room.do(1, "sit", {"thing": room.cart}) == (AnswerCode.DONE, {"thing": room.cart})
    assert room.do(2, "sit", {"thing": room.cart}) == (AnswerCode.REFUSED, "somebody sits there")
    room.core.state.table.vel[room.row(room.cart)] = [-1.0, 0.0, 0.0]
    for _ in range(20):
        room.step()
    np.testing.assert_allclose(room.pos(room.body[1]) - room.pos(room.cart), [0.0, 0.5, 0.0], atol=1e-6)
    assert room.pos(room.cart)[0] < 0.1
    assert room.do(1, "teleport", {"x": 0, "z": 0}) == (AnswerCode.REFUSED, "stand up first")
    assert room.do(1, "stand")[0] == AnswerCode.DONE
    assert room.pos(room.body[1])[1] == 0.0
    assert room.do(1, "stand") == (AnswerCode.REFUSED, "you do not sit")
    room.core.state.table.vel[room.row(room.cart)] = 0.0
    room.put(2, *room.pos(room.cart)[[0, 2]])
    assert room.do(2, "sit", {"thing": room.cart})[0] == AnswerCode.DONE
    room.step(Upward(0, 0, 0, detach=[[2, 1, True, room.body[2]]]))
    for _ in range(12):
        room.step()
    assert not room.core.state.table.columns["c.taken_by"][room.row(room.cart)], "who left the world sits nowhere"


def test_teleport_is_decided_by_the_world() -> None:
    room = Room()
    assert room.do(1, "teleport", {"x": 0.0, "z": 5.0}) == (AnswerCode.DONE, {"x": 0.0, "z": 5.0})
    np.testing.assert_allclose(room.pos(room.body[1]), [0.0, 0.0, 5.0])
    assert room.do(1, "teleport", {"x": 0.0, "z": 4.0})[1] == "not so fast"
    for _ in range(5):
        room.step()
    for payload, why in (
        ({"x": 0.0, "z": 12.0}, "more than 6 m"),
        ({"x": 3.5, "z": 0.5}, "nobody can stand there"),
        ({"x": float("nan"), "z": 0.0}, "x and z"),
        ({"x": True, "z": 0.0}, "x and z"),
        (None, "x and z"),
    ):
        code, text = room.do(1, "teleport", payload)
        assert (code, why in text) == (AnswerCode.REFUSED, True), text


def test_who_was_put_elsewhere_is_told_that_it_was_not_its_own_doing() -> None:
    room = Room()
    for _ in range(5):
        room.step()
    message = room.act(1, "teleport", {"x": 0.0, "z": 5.0})
    message.gateway, message.seq = 1, 200
    result = room.core.step(room.tick + 1, [message])
    at = result.delta.own_row.tolist().index(room.row(room.body[1]))
    assert result.delta.own_flags[at] & 2


@pytest.mark.parametrize("make", [lambda s: Hands(s, reach_m=0), lambda s: Teleport(s, range_m=0)])
def test_declarations_that_cannot_work_are_refused(make: Any) -> None:
    with pytest.raises(DeclarationError):
        make(Script("x"))


# -------------------------------------------------------------------------------------------------------------- borders
class Border:
    """Two regions, and people who act through the one that has their body."""

    def __init__(self, seed: int, net: Net | None = None) -> None:
        self.seam = Seam(TWO, lambda: [things()], seed=seed, net=net or Net())
        self.numbers: dict[int, int] = {}
        self.answers: dict[tuple[int, int], list[Any]] = {}
        self.seam.run(1)
        table = self.seam.cores[4].state.table
        self.cup = int(table.id[table.rows(self.seam.cores[4].state.registry.kind_number["cup"])][0])

    def act(self, session: int, name: str, payload: Any) -> list[Any]:
        """[code, value] that it is answered, however often it has to be said."""
        number = self.numbers[session] = self.numbers.get(session, 0) + 1
        body = self.seam.bodies[session]
        for _ in range(100):
            message = act((number, name, payload), session=session, body=body.entity, first=number)
            self.seam.say(body.region, message)
            self.seam.run(1)
            for result in self.seam.results.values():
                for who, what, code, value, _ in result.delta.answers:
                    self.answers.setdefault((who, what), [code, value])
            if (session, number) in self.answers:
                return self.answers[session, number]
        raise AssertionError("it is not answered")

    def put_cup(self, x: float, z: float) -> None:
        core, row = self.seam.row(self.cup)
        core.state.table.pos[row] = [x, 0.8, z]

    def held_by(self) -> int:
        core, row = self.seam.row(self.cup)
        return int(core.state.table.columns["c.held_by"][row])


@pytest.mark.parametrize("seed", range(3))
def test_what_is_in_a_hand_crosses_borders_with_it(seed: int) -> None:
    border = Border(seed, Net(lost=0.1, repeated=0.1, late=0.2))
    seam = border.seam
    body = seam.join(7, 4, (-1.0, 0.0))
    border.put_cup(-1.0, -0.4)
    assert border.act(7, "grab", grab(border.cup))[0] == AnswerCode.DONE

    def go() -> None:
        seam.walk(body, 127 if seam.tick // 40 % 2 == 0 else -127)
        if seam.home(body.entity):
            assert seam.home(border.cup) == seam.home(body.entity)
            assert np.linalg.norm(seam.pos(border.cup) - seam.pos(body.entity)) < 2.0

    seam.run(200, go)
    assert body.moves >= 2
    assert border.held_by() == body.entity
    seam.run(10)
    assert border.act(7, "release", {"hand": "right"})[0] == AnswerCode.DONE
    assert seam.faults == []


@pytest.mark.parametrize("seed", range(3))
def test_a_thing_across_a_border_comes_to_the_hand_and_one_of_two_has_it(seed: int) -> None:
    border = Border(seed)
    seam = border.seam
    here, there = seam.join(7, 4, (-0.3, 0.0)), seam.join(8, 5, (1.2, 0.6))
    border.put_cup(0.3, 0.0)
    seam.run(5)
    if seam.home(border.cup) == 4:  # it waits until it is far enough on the other side
        border.put_cup(0.9, 0.0)
        seam.run(30)
    assert seam.home(border.cup) == 5
    answer = border.act(7, "grab", grab(border.cup))
    assert answer == [AnswerCode.DONE, {"thing": border.cup, "held": None}]
    other = border.act(8, "grab", grab(border.cup))
    seam.run(60)
    told = [payload for session, _, name, payload in seam.events if name == "grab" and session == 7]
    winner = here if told == [{"thing": border.cup, "held": True}] else there
    assert told in ([{"thing": border.cup, "held": True}], [{"thing": border.cup, "held": False}])
    assert border.held_by() == winner.entity
    assert (other[0] == AnswerCode.DONE) == (winner is there)
    assert seam.home(border.cup) == seam.home(winner.entity)
    assert seam.faults == []


class Scramble(Border):
    """Four people who run to and fro over a border, and grab whatever is near with either hand."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, Net(lost=0.1, repeated=0.1, late=0.2))
        self.rng = np.random.default_rng(seed)
        self.asked: dict[int, tuple[int, str, Any]] = {}
        self.won = self.lost = 0
        for session in range(7, 11):
            self.seam.join(session, 4 if session % 2 else 5, (-1.5 if session % 2 else 1.5, 0.8 * (session - 8.5)))
        core = self.seam.cores[4]
        cups = core.state.begin(self.kind, core.state.ids.take(5), {})
        core.state.table.pos[cups] = [[-1.0, 0.9, z] for z in np.linspace(-1.5, 1.5, 5)]

    @property
    def kind(self) -> int:
        return self.seam.cores[4].state.registry.kind_number["cup"]

    def cups(self) -> list[tuple[int, int, int, int, int]]:
        """(region, id, held by, hand, attached to) of all that are not on their way."""
        found = []
        for region, core in self.seam.cores.items():
            table = core.state.table
            rows = table.rows(self.kind)
            columns = [table.columns[name][rows].tolist() for name in ("c.held_by", "c.held_hand", "h.parent")]
            found += [(region, *row) for row in zip(table.id[rows].tolist(), *columns, strict=True)]
        return found

    def turn(self) -> None:
        """Before a tick: answers are heard, somebody grabs or lets go, all run; nothing contradicts itself."""
        for result in self.seam.results.values():
            for session, number, code, *_ in result.delta.answers:
                if self.asked.get(session, (0,))[0] == number:
                    del self.asked[session]
                    self.won, self.lost = self.won + (code == 0), self.lost + (code != 0)
        cups = self.cups()
        in_hand = [(by, hand) for _, _, by, hand, on in cups if on]
        assert len(in_hand) == len(set(in_hand)), "two things are in one hand"
        assert all(on in (0, by) for _, _, by, _, on in cups), "something hangs on somebody who does not hold it"
        for session, body in self.seam.bodies.items():
            if session not in self.asked and self.rng.random() < 0.2:
                self.numbers[session] = number = self.numbers.get(session, 0) + 1
                hand = str(self.rng.choice(["left", "right"]))
                thing = int(self.rng.choice([cup for _, cup, *_ in cups])) if cups else 1
                wish = ("release", {"hand": hand}) if self.rng.random() < 0.4 else ("grab", grab(thing, hand))
                self.asked[session] = (number, *wish)
            if session in self.asked and body.region:
                self.seam.say(
                    body.region,
                    act(self.asked[session], session=session, body=body.entity, first=self.asked[session][0]),
                )
            self.seam.walk(body, 100 if (self.seam.tick // 30 + session) % 2 else -100)


@pytest.mark.parametrize("seed", range(3))
def test_a_scramble_over_a_border_ends_with_each_thing_in_one_hand_or_none(seed: int) -> None:
    scramble = Scramble(seed)
    scramble.seam.run(250, scramble.turn)
    scramble.seam.run(60)
    assert scramble.won > 12
    assert scramble.lost > 12
    cups = scramble.cups()
    assert len(cups) == 7, "none is lost or doubled"
    for region, cup, by, hand, on in cups:
        assert by == on, f"cup {cup} of region {region} is held by {by} in hand {hand}, and hangs on {on}"
        assert not by or scramble.seam.home(by) == region
    assert scramble.seam.faults == []


def test_who_rides_crosses_borders_with_the_cart() -> None:
    border = Border(1)
    seam = border.seam
    body = seam.join(7, 4, (-2.0, 0.0))
    kind = seam.cores[4].state.registry.kind_number["cart"]
    cart = next(int(c.state.table.id[row]) for c in seam.cores.values() for row in c.state.table.rows(kind))
    core, row = seam.row(cart)
    core.state.table.pos[row] = [-2.0, 0.0, 0.3]
    seam.run(60)  # it had begun across the border
    assert border.act(7, "sit", {"thing": cart}) == [AnswerCode.DONE, {"thing": cart}]

    def drive() -> None:
        if home := seam.home(cart):
            at = seam.cores[home].state.table
            at.vel[at.row(cart)] = [2.0, 0.0, 0.0]
            if seam.home(body.entity):
                assert seam.home(body.entity) == home
                np.testing.assert_allclose(seam.pos(body.entity) - seam.pos(cart), [0.0, 0.5, 0.0], atol=1e-6)

    seam.run(80, drive)
    assert seam.home(body.entity) == 5
    assert border.act(7, "stand", None)[0] == AnswerCode.DONE
    assert seam.faults == []


def over_there(border: Border, kind: str, x: float, z: float) -> int:
    """The thing of a kind, in region 5, at a place at which that still has it."""
    seam = border.seam
    number = seam.cores[4].state.registry.kind_number[kind]
    thing = next(int(c.state.table.id[row]) for c in seam.cores.values() for row in c.state.table.rows(number))
    for where in (2.0, x):
        core, row = seam.row(thing)
        core.state.table.pos[row] = [where, core.state.table.pos[row][1], z]
        seam.run(30)
    assert seam.home(thing) == 5
    return thing


@pytest.mark.parametrize("seed", range(3))
def test_a_button_across_a_border_is_pressed_from_this_side(seed: int) -> None:
    """Once, by the body that stands where it stood; what is in its hand is there all the time."""
    border = Border(seed, Net(lost=0.1, repeated=0.1, late=0.2))
    seam = border.seam
    bell = over_there(border, "bell", 0.3, 0.0)
    body = seam.join(7, 4, (-0.3, 0.2))
    seam.run(10)
    border.put_cup(-0.3, -0.2)
    assert border.act(7, "grab", grab(border.cup, "left"))[0] == AnswerCode.DONE
    where = seam.pos(body.entity).copy()
    assert seam.home(body.entity) == 4
    for times in (1, 2, 3):
        assert border.act(7, "press", grab(bell)) == [AnswerCode.DONE, times]
        assert seam.home(body.entity) == 5, "it is done by the one region that has both"
        np.testing.assert_allclose(seam.pos(body.entity), where)
    core, row = seam.row(bell)
    assert core.state.table.columns["c.rings"][row] == 3
    assert border.held_by() == body.entity
    assert seam.home(border.cup) == 5
    assert border.act(7, "release", {"hand": "left"})[0] == AnswerCode.DONE
    assert seam.faults == []


def test_who_was_called_over_a_border_goes_back_by_itself() -> None:
    border = Border(1)
    seam = border.seam
    bell = over_there(border, "bell", 0.3, 0.0)
    body = seam.join(7, 4, (-0.9, 0.0))
    seam.run(10)
    assert border.act(7, "press", grab(bell)) == [AnswerCode.DONE, 1]
    assert seam.home(body.entity) == 5
    seam.run(int(2.0 * RATE_HZ))
    assert seam.home(body.entity) == 4
    assert seam.cores[4].state.links.called == {}
    assert seam.faults == []


def test_one_sits_down_on_a_seat_across_a_border_and_of_two_one_has_it() -> None:
    border = Border(1, Net(lost=0.1, repeated=0.1, late=0.2))
    seam = border.seam
    cart = over_there(border, "cart", 0.2, 0.0)
    here, there = seam.join(7, 4, (-0.4, 0.0)), seam.join(8, 5, (1.0, 0.5))
    seam.run(10)
    assert border.act(7, "sit", {"thing": cart}) == [AnswerCode.DONE, {"thing": cart}]
    assert border.act(8, "sit", {"thing": cart}) == [AnswerCode.REFUSED, "somebody sits there"]
    seam.run(60)
    assert seam.home(here.entity) == seam.home(cart) == 5, "who sits stays with the seat"
    assert there.moves == 0
    np.testing.assert_allclose(seam.pos(here.entity) - seam.pos(cart), [0.0, 0.5, 0.0], atol=1e-6)
    assert border.act(7, "stand", None)[0] == AnswerCode.DONE
    assert seam.faults == []


def test_where_a_region_takes_nobody_it_is_said_and_nothing_has_happened() -> None:
    border = Border(1)
    seam = border.seam
    bell = over_there(border, "bell", 0.3, 0.0)
    cart = over_there(border, "cart", -0.2, 0.5)
    body = seam.join(7, 4, (-0.4, 0.0))
    seam.run(10)
    seam.cores[5].state.table.rows_max = 0  # full
    assert border.act(7, "press", grab(bell)) == [AnswerCode.REFUSED, "it is across a border: step nearer"]
    assert seam.home(body.entity) == 4
    seam.cores[5].state.table.rows_max = 1000
    seam.run(60)
    assert seam.home(body.entity) == 4, "nobody is called for an act that was answered"
    assert border.act(7, "sit", {"thing": cart})[0] == AnswerCode.DONE
    assert border.act(7, "press", grab(bell)) == [AnswerCode.DONE, 1], "both are over there now"
    core, row = seam.row(bell)
    assert core.state.table.columns["c.rings"][row] == 1
    assert seam.faults == []
