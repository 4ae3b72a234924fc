"""Acts of bodies that cross borders, and of regions that move: done once, answered as before, told when committed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from protocol.link import Upward
from shard.acting import HOLD_S, Acting
from shard.behaviours.api import Script
from shard.behaviours.world import Rows, World
from shard.border import crossing
from tests.unit.shard.actors import act, coins, shop
from tests.unit.shard.seam import TWO, Body, Net, Seam

SEEDS = range(6)
RATE_HZ = 20


class Client:
    """A session that acts, and says again what is not answered, as a gateway does: now here, now there, now not at
    all."""

    def __init__(self, seam: Seam, body: Body, seed: int) -> None:
        self.seam, self.body = seam, body
        self.rng = np.random.default_rng(seed)
        self.said = 0
        self.answers: dict[int, list[Any]] = {}
        self.uncommitted: list[tuple[int, int, int]] = []
        """(region, journal, number) that a durable world's store has not stored yet."""
        self.committed: set[int] = set()

    @property
    def first(self) -> int:
        return next(k for k in range(1, self.said + 2) if k not in self.answers)

    def turn(self, chance: float = 0.5, acts: bool = True) -> None:
        """Before a tick: some answers come, some are lost; some acts are said."""
        for region, result in self.seam.results.items():
            self.uncommitted += [(region, a.journal, a.number) for a in result.answered]
            for session, number, code, value, _ in result.delta.answers:
                assert session == self.body.session
                if self.rng.random() < chance:
                    assert self.answers.setdefault(number, [code, value]) == [code, value], "another answer than before"
        if acts and self.rng.random() < chance and self.said - len(self.answers) < 10:
            self.said += 1
        open_ = [k for k in range(self.first, self.said + 1) if k not in self.answers]
        if open_ and self.rng.random() < chance:
            region = int(self.rng.choice(list(self.seam.cores)))
            generation, entity = 1, self.body.entity
            entries = [(k, "pay", -1) for k in open_]
            self.seam.say(region, act(*entries, session=self.body.session, generation=generation, body=entity,
                                      first=self.first))  # fmt: skip

    def commit(self) -> None:
        """The store has stored everything."""
        for region, journal, number in self.uncommitted:
            self.seam.cores[region].state.acting.commit(journal)
            self.committed.add(number)
        self.uncommitted.clear()

    def finish(self) -> None:
        """Until everything is answered."""
        for _ in range(200):
            if len(self.answers) == self.said and self.seam.home(self.body.entity):
                return
            self.turn(0.9, acts=False)
            self.commit()
            self.seam.run(1)
        raise AssertionError(f"{self.said} were said, {sorted(self.answers)} answered")

    @property
    def done(self) -> int:
        """How often the body has done it."""
        core, row = self.seam.row(self.body.entity)
        return coins(core.state.table, row) - 10


def walk(seam: Seam, client: Client, ticks: int, each: Callable[[], None] = lambda: None) -> None:
    """To and fro over the border, acting."""

    def go() -> None:
        client.turn()
        each()
        seam.walk(client.body, 127 if seam.tick // 40 % 2 == 0 else -127)

    seam.run(ticks, go)


def over_the_border(seed: int, moves: bool = False) -> Client:
    """A walk over a bad network; every answer says how often it was done."""
    seam = Seam(TWO, lambda: [shop()], seed=seed, net=Net(lost=0.2, repeated=0.2, late=0.3))
    client = Client(seam, seam.join(7, 4, (-1.0, 0.0)), seed)

    def each() -> None:
        if moves and seam.tick % 23 == 0:
            seam.move(int(client.rng.choice(list(seam.cores))))

    walk(seam, client, 300, each)
    client.finish()
    assert client.body.moves >= 3
    assert client.said > 60
    return client


@pytest.mark.parametrize("moves", [False, True], ids=["", "regions move"])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_act_is_done_once(seed: int, moves: bool) -> None:
    client = over_the_border(seed, moves)
    assert client.done == client.said
    assert [client.answers[k] for k in range(1, client.said + 1)] == [[0, 10 + k] for k in range(1, client.said + 1)]


def test_a_shard_that_forgets_at_a_crossing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = crossing._begin

    def forgetful(state: Any, neighbour: Any, item: Any, number: int) -> None:
        begin(state, neighbour, item, number)
        for row in state.row_of_session.values():
            state.table.columns["o.acted"][row] = 0

    monkeypatch.setattr(crossing, "_begin", forgetful)
    found = 0
    for seed in SEEDS:
        try:
            client = over_the_border(seed)
        except AssertionError:
            found += 1
        else:
            found += client.done != client.said
    assert found


def test_a_body_crosses_when_what_it_did_is_committed() -> None:
    seam = Seam(TWO, lambda: [shop()], durable=True)
    client = Client(seam, seam.join(7, 4, (-0.1, 0.0)), 1)
    seam.say(4, act((1, "pay", -1), body=client.body.entity))
    client.said = 1

    def go() -> None:
        seam.walk(client.body, 127)
        client.turn(1.0, acts=False)

    seam.run(3 * RATE_HZ, go)
    assert seam.home(client.body.entity) == 4, "it walks on in the neighbour's ground, simulated by its home"
    assert seam.pos(client.body.entity)[0] > 2.0
    assert client.answers == {}, "nothing is told that is not committed"
    seam.cores[4].state.acting.commit(1)
    seam.run(8, go)
    assert seam.home(client.body.entity) == 5
    assert client.answers[1] == [0, 11]


def test_who_never_rests_crosses_all_the_same() -> None:
    """It acts all the time, and each commit takes three ticks: it takes no new act for a moment, and goes."""
    seam = Seam(TWO, lambda: [shop()], durable=True)
    client = Client(seam, seam.join(7, 4, (-2.0, 0.0)), 1)

    def go() -> None:
        seam.walk(client.body, 127)
        client.turn(1.0)
        if seam.tick % 3 == 0:
            client.commit()
        assert set(client.answers) <= client.committed, "told before it was committed"

    seam.run(2 * RATE_HZ, go)
    assert seam.home(client.body.entity) == 5
    client.finish()
    assert client.done == client.said > 20


@pytest.mark.parametrize("seed", SEEDS)
def test_a_durable_world_tells_nothing_that_is_not_committed(seed: int) -> None:
    seam = Seam(TWO, lambda: [shop()], seed=seed, net=Net(lost=0.1, repeated=0.1, late=0.2), durable=True)
    client = Client(seam, seam.join(7, 4, (-1.0, 0.0)), seed)

    def each() -> None:
        assert set(client.answers) <= client.committed
        if client.rng.random() < 0.2:
            client.commit()

    walk(seam, client, 400, each)
    client.finish()
    assert client.body.moves >= 2
    assert client.done == client.said


def test_an_act_for_a_body_that_left_goes_after_it() -> None:
    seam = Seam(TWO, lambda: [shop()])
    body = seam.join(7, 4, (-0.1, 0.0))
    seam.run(14, lambda: seam.walk(body, 127))
    assert seam.home(body.entity) == 5
    seam.say(4, act((1, "pay", 4), body=body.entity))
    seam.say(4, Upward(0, 0, 0, acts=[[99, 1, 1, "pay", 4, 0, 1]]))
    seam.run(2)
    assert seam.results[5].delta.answers == [[7, 1, 0, 6, 1]]


def test_what_it_can_have_seen_goes_over_the_border_with_an_act() -> None:
    def looking() -> Script:
        script = Script("looking")

        @script.action("look")
        def look(world: World, rows: Rows, payloads: list[Any]) -> list[list[float]]:
            return [[world.shown_tick(who, payloads[0]) for who in (int(rows.id[0]), 1)]]

        return script

    seam = Seam(TWO, lambda: [looking()])
    body = seam.join(7, 4, (-0.1, 0.0))
    seam.run(14, lambda: seam.walk(body, 127))
    assert seam.home(body.entity) == 5
    message = act((1, "look", 3.0), (2, "look", 43.5), (3, "look", 99), body=body.entity)
    for entry in message.acts:
        entry += [40, 44]
    seam.say(4, message)
    seam.run(2)
    answers = [answer[3] for answer in seam.results[5].delta.answers]
    assert answers == [[40.0, 3.0], [43.5, 43.5], [44.0, 99.0]], "of whom acts, and of nobody else"


def test_a_body_that_should_go_takes_acts_again_when_the_store_stands_still() -> None:
    hold = int(HOLD_S * RATE_HZ)
    acting = Acting(True, RATE_HZ)
    acting.answer(7, 1, 0, None)
    acting.close_step(1)
    assert not acting.holds([8, 0], 100)
    assert acting.holds([7], 100)
    assert not acting.has_room(7, 100 + hold - 1)
    assert acting.holds([7], 100 + hold)
    assert acting.has_room(7, 100 + hold)
    assert acting.holds([7], 100 + 2 * hold)
    assert not acting.has_room(7, 100 + 2 * hold), "and then not, so that it can go"
