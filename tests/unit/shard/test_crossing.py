"""Crossings between regions: nobody is lost or doubled, and everything of an entity arrives.

``Seam`` checks after every tick: one home for each entity, or one commit on its way; hops only grow; acknowledged
numbers never go back.
"""

from collections.abc import Callable

import numpy as np
import pytest

from cluster.regions import Layout
from protocol.border import Commit, decode_item
from protocol.link import Upward
from shard.behaviours.api import Body as BodyShape
from shard.behaviours.api import Script
from shard.behaviours.world import Rows, World
from shard.border.handover import SOURCE, TARGET, Event, Source, Target, at_source, at_target
from tests.unit.shard.seam import FOUR, TWO, Body, Net, Seam

BAD = Net(lost=0.1, repeated=0.1, late=0.3)


def crowd(seam: Seam, people: int, spread_m: float = 5.0) -> list[Body]:
    """People around the middle."""
    bodies = [seam.join(k + 1, sorted(seam.squares)[k % len(seam.squares)], (0.0, 0.0)) for k in range(people)]
    for body in bodies:
        x0, z0, x1, z1 = seam.squares[body.region]
        x, z = seam.rng.uniform(-spread_m, spread_m, 2)
        core = seam.cores[body.region]
        core.state.table.pos[body.row] = [np.clip(x, x0, x1), 0, np.clip(z, z0, z1)]
    return bodies


def milling(seam: Seam, bodies: list[Body]) -> Callable[[], None]:
    """Everybody runs about, and turns back to the middle when far from it."""
    heading = seam.rng.uniform(0, 7, len(bodies))

    def go() -> None:
        for k, body in enumerate(bodies):
            if home := seam.home(body.entity):
                x, _, z = seam.pos(body.entity)
                if np.hypot(x, z) > 9 and home == body.region:
                    heading[k] = np.arctan2(-z, -x) + seam.rng.uniform(-0.6, 0.6)
            if seam.rng.random() < 0.02:
                heading[k] = seam.rng.uniform(0, 7)
            seam.walk(body, round(127 * np.cos(heading[k])), round(127 * np.sin(heading[k])), 1)

    return go


def test_a_walker_crosses_and_is_steered_all_the_way() -> None:
    seam = Seam(TWO)
    body = seam.join(7, 4, (-3.0, 0.0))
    places = []

    def go() -> None:
        seam.walk(body, 127)
        if home := seam.home(body.entity):
            places.append((seam.tick, home, float(seam.pos(body.entity)[0])))

    seam.run(60, go)
    assert seam.home(body.entity) == 5
    assert body.moves == 1
    steps = np.diff([x for _, _, x in places])[8:]
    hurried = steps > 3.0 / 20 + 1e-9
    assert np.allclose(steps[~hurried], 3.0 / 20), "it does not stop"
    assert np.allclose(steps[hurried], 4.0 / 20), "it does not leap either"
    assert hurried.sum() == 3, "and is where it would be without the border"
    ticks = np.diff([tick for tick, _, _ in places])
    assert sorted(ticks)[-2:] == [1, 2], "on its way after one tick, which its former home had simulated"
    assert seam.total("entities gone") == seam.total("entities come") == 1
    assert body.seq - body.acknowledged <= 1
    assert seam.faults == []


@pytest.mark.parametrize("seed", range(5))
def test_walkers_cross_to_and_fro_over_a_bad_network(seed: int) -> None:
    seam = Seam(FOUR, seed=seed, net=BAD)
    bodies = crowd(seam, 8)
    seam.run(500, milling(seam, bodies))
    assert seam.total("entities come") > 25
    seam.net = Net()
    seam.run(40)
    assert all(body.seq == body.acknowledged for body in bodies)
    assert seam.faults == []


@pytest.mark.parametrize("seed", range(6))
def test_kills_and_moves_of_regions_lose_what_they_held_and_nothing_else(seed: int) -> None:
    seam = Seam(FOUR, seed=seed, net=BAD)
    bodies = crowd(seam, 10)
    go = milling(seam, bodies)
    for turn in range(12):
        seam.run(int(seam.rng.integers(15, 50)), go)
        region = int(seam.rng.choice(list(FOUR)))
        if turn % 4 == 3:
            seam.crash(region)
        else:
            seam.move(region)
    seam.net = Net()
    seam.run(60)
    assert seam.total("entities come") > 0
    assert not seam.on_the_way()
    for body in bodies:
        if body.entity not in seam.excused:
            assert body.seq == body.acknowledged
    assert seam.faults == []


def test_a_target_that_dies_between_accept_and_commit() -> None:
    """Its successor begins the group that its predecessor had promised room for."""
    seam = Seam(TWO)
    body = seam.join(7, 4, (-1.0, 0.0))

    def until(state: Source) -> None:
        for _ in range(100):
            seam.walk(body, 127)
            seam.run(1)
            if any(o.state is state for o in seam.cores[4].state.links.neighbours[5].outgoing.values()):
                return
        raise AssertionError(f"never {state}")

    until(Source.GONE)
    seam.crash(5)
    seam.run(30, lambda: seam.walk(body, 127))
    assert seam.home(body.entity) == 5
    assert seam.cores[5].counts["FREE COMMIT"] == 1
    assert body.entity not in seam.excused

    seam = Seam(TWO)
    body = seam.join(7, 4, (-1.0, 0.0))
    until(Source.PREPARED)
    seam.crash(5)
    seam.run(4, lambda: seam.walk(body, 127))
    assert seam.home(body.entity) == 4, "the prepare was taken back"
    assert seam.cores[4].counts["PREPARED NEW_OWNER"] == 1
    seam.run(40, lambda: seam.walk(body, 127))
    assert seam.home(body.entity) == 5


def test_silence_takes_the_prepare_back_and_the_body_stays_usable() -> None:
    seam = Seam(TWO)
    body = seam.join(7, 4, (-1.0, 0.0))
    seam.cut = {(5, 4)}
    seam.run(60, lambda: seam.walk(body, 127))
    assert seam.home(body.entity) == 4
    assert seam.pos(body.entity)[0] > 4, "it walks on, outside of its region"
    assert seam.cores[4].counts["PREPARED SILENCE"] >= 1
    seam.cut = set()
    seam.run(60, lambda: seam.walk(body, -127))
    seam.run(60, lambda: seam.walk(body, 127))
    assert seam.home(body.entity) == 5
    assert not seam.cores[5].state.links.neighbours[4].reserved


def test_a_refused_group_stays_home_and_harms_nobody() -> None:
    seam = Seam(TWO, rows_max=40, rows=8)
    body = seam.join(7, 4, (-2.0, 0.0))
    other = seam.join(8, 5, (3.0, 3.0))
    table = seam.cores[5].state.table
    crowd_ids = np.arange(39, dtype=np.uint64) + np.uint64(1 << 50)
    made = table.begin(1, crowd_ids, over=True)
    table.pos[made] = [30.0, 0, 30.0]
    seam.run(60, lambda: seam.walk(body, 127))
    assert seam.home(body.entity) == 4
    assert 1 <= seam.cores[4].counts["PREPARED REFUSE"] <= 3
    seam.run(20, lambda: seam.walk(other, 0, 127))
    assert other.seq - other.acknowledged <= 1
    seam.cores[5].state.end(made)
    seam.known -= set(crowd_ids.tolist())
    seam.run(40, lambda: seam.walk(body, 127))
    assert seam.home(body.entity) == 5


def test_an_oscillating_walker_costs_a_bounded_number_of_messages() -> None:
    seam = Seam(TWO)
    body = seam.join(7, 4, (-0.2, 0.0))
    ticks = 600

    def sway() -> None:
        seam.walk(body, 127 if seam.tick // 8 % 2 else -127)

    seam.run(ticks, sway)
    assert seam.total("entities come") <= ticks / 20
    # a crossing has three words, each repeated until its acknowledgement comes two ticks later
    assert seam.messages <= (3 * 3) * (ticks / 20 + 1)


def everything_script() -> Script:
    script = Script("all")
    mood = script.component("mood", "f4", replicate=True)
    label = script.component("label", "U8")
    laps = script.component("laps", "i4")
    script.kind("duck", [mood, label, laps])

    @script.start
    def begin(world: World) -> None:
        ids = world.spawn("duck", 1, pos=[-1.0, 0, 0], vel=[2.0, 0, 0], mood=0.25, label="Ada")
        world.after(0.6, "lap", ids, 7)
        world.after(3.0, "lap", ids, 8)

    @script.timer("lap", "duck")
    def lap(world: World, ducks: Rows, values: "np.ndarray") -> None:
        ducks.laps += values.astype(np.int32)

    @script.enter("duck")
    def entered(world: World, ducks: Rows) -> None:
        ducks.laps += 100

    @script.leave("duck")
    def left(world: World, ids: "np.ndarray") -> None:
        world.tell("left")

    return script


def test_components_timers_and_published_states_arrive() -> None:
    seam = Seam(TWO, lambda: [everything_script()])
    seam.run(1)
    duck = next(iter(seam.own(4)))
    versions: list[int] = []

    def watch() -> None:
        if seam.home(duck):
            core, row = seam.row(duck)
            versions.append(int(core.state.table.columns["w.version"][row]))

    seam.run(80, watch)
    assert seam.home(duck) == 5
    core, row = seam.row(duck)
    columns = core.state.table.columns
    assert (columns["c.mood"][row], columns["c.label"][row], columns["c.laps"][row]) == (0.25, "Ada", 115)
    assert seam.events == [], "behaviours hear of no leave at a crossing"
    assert versions == sorted(versions)
    assert core.state.table.hop[row] == 1
    delta = seam.cores[5].snapshot_delta(1)
    assert delta.enter_id.tolist() == [duck]


def test_the_delta_tells_that_rows_moved_and_the_next_one_takes_them_over() -> None:
    seam = Seam(TWO)
    body = seam.join(7, 4, (-0.1, 0.0))
    row = body.row
    told: list[tuple[int, list[int]]] = []
    entered: list[tuple[int, int, int]] = []

    def watch() -> None:
        seam.walk(body, 127)
        for result in seam.results.values():
            delta = result.delta
            told.extend((delta.tick, [r, to]) for r, to in zip(delta.moved_row, delta.moved_to, strict=True))
            assert row not in delta.leave_row.tolist() or delta.region != 4
            if delta.region == 5 and len(delta.enter_id):
                at = delta.row.tolist().index(int(delta.enter_row[0]))
                entered.append((delta.tick, int(delta.enter_hop[0]), int(delta.version[at])))
                assert delta.flags[at] == 1
                assert delta.attached[0][:3] == [7, 1, body.entity]

    seam.run(30, watch)
    assert [entry[1] for entry in told] == [[row, 5]]
    assert [(tick, hop) for tick, hop, _ in entered] == [(told[0][0] + 1, 1)]
    assert entered[0][2] > 1


def test_words_to_a_body_that_left_go_after_it() -> None:
    """Commands to the old row, and a new attach at the old region, reach the body; a removal too."""
    seam = Seam(TWO)
    body = seam.join(7, 4, (-0.1, 0.0))
    seam.run(14, lambda: seam.walk(body, 127))
    assert seam.home(body.entity) == 5
    stale = Body(7, body.entity, 4, 0, 1, body.seq)
    old = next(iter(seam.cores[4].state.links.gone_rows))
    stale.row, stale.generation = old
    before, forwarded = body.acknowledged, seam.cores[4].counts["commands forwarded"]
    for _ in range(5):
        seam.walk(stale, 127)
        seam.run(1)
    seam.run(4)
    assert seam.cores[4].counts["commands forwarded"] == forwarded + 5
    assert body.acknowledged >= before + 5
    seam.say(4, Upward(0, 0, 0, attach=[[7, 2, "P7", "person", "desktop", body.entity]]))
    seam.run(3)
    core, row = seam.row(body.entity)
    assert core.state.table.columns["o.generation"][row] == 2
    seam.say(4, Upward(0, 0, 0, detach=[[7, 2, True, 0]]))
    seam.run(3)
    assert not seam.own(4) | seam.own(5)


def test_a_commit_that_comes_again_changes_nothing() -> None:
    """Every message is delivered twice, and all of them once more at the end."""
    seam = Seam(TWO, net=Net(repeated=1.0))
    body = seam.join(7, 4, (-1.0, 0.0))
    kept: list[tuple[int, bytes]] = []

    def go() -> None:
        seam.walk(body, 127)
        kept.extend(seam.under_way)

    seam.run(40, go)
    assert seam.home(body.entity) == 5
    seam.under_way = [(0, data) for _, data in kept]
    seam.run(5, go)
    assert seam.total("entities come") == 1


def test_a_second_hand_over_raises_the_hop_again() -> None:
    seam = Seam(FOUR)
    body = seam.join(7, 4, (-1.0, -3.0))
    seam.run(20, lambda: seam.walk(body, 127))
    assert seam.home(body.entity) == 5
    stone = seam.cores[4].state.links.tombstones[body.entity]
    assert seam.cores[4].state.links.acknowledged(stone)
    seam.run(60, lambda: seam.walk(body, 0, 127))
    assert seam.home(body.entity) == 7
    table = seam.cores[7].state.table
    assert table.hop[table.row(body.entity)] == 2
    seam.run(120)
    assert not seam.cores[4].state.links.tombstones, "they end when they have forwarded for long enough"


def test_what_has_just_come_leaves_only_when_its_former_home_knows() -> None:
    seam = Seam(TWO)
    body = seam.join(7, 4, (-1.0, 0.0))
    while seam.home(body.entity) == 4:
        seam.walk(body, 127)
        seam.run(1)
    seam.cut = {(5, 4)}  # nothing of 5 reaches 4: no acknowledgement
    seam.run(40, lambda: seam.walk(body, -127, 0, 1))
    assert seam.home(body.entity) == 5
    assert seam.cores[5].counts["HOME DUE"] == 0
    seam.cut = set()
    seam.run(10, lambda: seam.walk(body, -127, 0, 1))
    assert seam.home(body.entity) == 4


def test_late_and_repeated_words_change_nothing() -> None:
    for state in Source:
        for event in Event:
            if (state, event) not in SOURCE:
                assert at_source(state, event) == (state, None)
    for side in Target:
        for event in Event:
            if (side, event) not in TARGET:
                assert at_target(side, event) == (side, None)


def test_start_runs_in_one_region_and_what_it_spawns_goes_where_it_belongs() -> None:
    script = Script("spread")
    script.kind("rock", [], BodyShape(radius_m=0.2))

    @script.start
    def begin(world: World) -> None:
        world.spawn("rock", 200, pos=world.random.uniform(-60, 60, (200, 3)) * [1, 0, 1])

    seam = Seam(FOUR, lambda: [script])
    seam.run(40)
    assert len(seam.known) == 200
    for region, (x0, z0, x1, z1) in FOUR.items():
        table = seam.cores[region].state.table
        pos = table.pos[table.rows()]
        assert len(pos) > 20
        slack = 0.6
        assert (pos[:, 0] > x0 - slack).all()
        assert (pos[:, 0] < x1 + slack).all()
        assert (pos[:, 2] > z0 - slack).all()
        assert (pos[:, 2] < z1 + slack).all()


def test_who_came_back_is_not_sent_again_when_the_neighbour_dies_with_what_it_had_not_written_down() -> None:
    """The neighbour had taken him, had written nothing, and dies when he is home again."""
    seam = Seam(TWO, durable=True, leaves=Layout(128.0, 2))
    body = seam.join(1, 4, (-1.0, 0.0))
    ways = iter([127] * 40 + [-127] * 80)
    seam.run(120, lambda: seam.walk(body, next(ways)))
    assert seam.home(body.entity) == 4
    assert seam.hops[body.entity] == 2
    channel = seam.cores[4].state.links.neighbours[5].channel
    assert any(isinstance(decode_item(item), Commit) for item in channel.queue), "it is kept: nothing is durable there"
    seam.crash(5)
    seam.run(40)
    assert seam.home(body.entity) == 4
    assert not any(isinstance(decode_item(item), Commit) for item in channel.queue)
