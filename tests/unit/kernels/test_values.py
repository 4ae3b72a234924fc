"""Views told by datagrams, over a network that loses, delays, repeats and reorders: what a client shows is what the
mirror has, to the rounding of one delta."""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.interest import RINGS, priority
from kernels.layout import LIVE
from kernels.values import RELIABLE, VALUES_BYTES_MAX, is_acked
from protocol import frames, values
from protocol.layouts import GRID_PER_M, OWN, OWN_MOVED, VELOCITY_PER_GRID
from protocol.values import ValueRecords
from server.core.mirror import Mirror
from server.core.profiles import PROFILES, Profile, portion_of
from server.core.views import Portion, ViewRules, Views
from tests.unit.kernels.gateway_world import World

TICK_MS = 50
RULES = ViewRules(radius_m=60.0, near_radius_m=20.0, cap=120)


@dataclass
class Way:
    """Between one view and its client: ticks after which things arrive, and what gets lost on the way."""

    rng: np.random.Generator
    loss: float
    delay: int
    jitter: int
    records: ValueRecords = field(default_factory=ValueRecords)
    structure: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    loose: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    acks: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    last_structure: int = 0

    def send(self, tick: int, reliable: bool, data: bytes) -> None:
        late = self.delay + int(self.rng.integers(0, self.jitter + 1))
        if reliable:
            # In order, and later if it was lost at first.
            late += 4 * int(self.rng.random() < self.loss)
            self.last_structure = max(self.last_structure, tick + late)
            self.structure[self.last_structure].append(data)
        elif self.rng.random() >= self.loss:
            self.loose[tick + late].append(data)
            if self.rng.random() < 0.03:
                self.loose[tick + late + 2].append(data)

    def arrive(self, tick: int) -> None:
        loose = self.loose.pop(tick, [])
        self.rng.shuffle(loose)
        for data in loose:
            message = values.decode(data)
            assert message is not None
            assert values.encode(message) == data
            self.records.heard(message)
        for data in self.structure.pop(tick, []):
            block = frames.decode(data)
            assert isinstance(block, frames.Structure)
            self.records.apply_structure(block)
            self.records.release()
        arrivals = self.records.arrivals
        if arrivals.newest and self.rng.random() >= self.loss:
            self.acks[tick + self.delay].append((arrivals.newest, arrivals.earlier))


def run(ways: list[Way], world: World, views: Views, mirror: Mirror, first: int, ticks: int, budget: int) -> None:
    unblocked = np.zeros(views.capacity, np.uint8)
    for tick in range(first, first + ticks):
        still = not world.restless
        delta = world.step(
            tick, 80 if tick == 1 else 0 if still else 2, 0 if still else 2, 0 if still else 3, tick == 1
        )
        assert mirror.apply(delta)
        mirror.advance(tick)
        for batch in views.frames(tick, tick * TICK_MS, mirror, unblocked, budget):
            assert batch.kind is not None
            columns = (batch.conn, batch.at, batch.length, batch.kind)
            for conn, at, length, kind in zip(*(column.tolist() for column in columns), strict=True):
                assert kind == RELIABLE or length <= VALUES_BYTES_MAX
                ways[conn].send(tick, kind == RELIABLE, bytes(batch.buffer[at : at + length]))
        for conn, way in enumerate(ways):
            way.arrive(tick)
            for frame, earlier in way.acks.pop(tick, []):
                one = np.array([conn], np.uint32)
                frames_ = np.array([frame], np.uint32)
                assert not len(views.take_acks(one, frames_, one, np.array([earlier], np.uint64), tick * TICK_MS))


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    loss=st.sampled_from([0.0, 0.05, 0.2]),
    delay=st.integers(0, 6),
    jitter=st.integers(0, 3),
    budget=st.sampled_from([900, 16384]),
)
def test_what_is_shown_is_what_is_published_whatever_gets_lost(
    seed: int, loss: float, delay: int, jitter: int, budget: int
) -> None:
    world = World(seed, 160, 90.0)
    mirror, views = Mirror(cell_units=20 * GRID_PER_M), Views(3, RULES, TICK_MS, datagrams_from=0)
    ways = [Way(np.random.default_rng(seed + conn), loss, delay, jitter) for conn in range(3)]
    for conn in range(3):
        views.open(conn, 1, (45 * GRID_PER_M, 0, 45 * GRID_PER_M), 0, 1 << 18)
    run(ways, world, views, mirror, 1, 60, budget)
    world.restless = False
    world.vel[:] = 0
    run(ways, world, views, mirror, 61, 240, budget)
    for conn, way in enumerate(ways):
        slots = views.state.slot[conn]
        live = np.flatnonzero(slots["status"] == LIVE)
        records = way.records
        assert sorted(np.flatnonzero(records.live).tolist()) == live.tolist()
        assert len(live)
        for number in live.tolist():
            slot = slots[number]
            level = "far_" if slot["level"] else ""
            row = int(slot["row"])
            assert slot["held"] == mirror.hot[f"{level}version"][row], "all is acknowledged"
            assert records.id[number] == mirror.cold["id"][row]
            cold = mirror.cold[row]
            age = 300 - int(mirror.hot[f"{level}tick"][row])
            held = 300 - int(records.record_tick[number])
            for axis, a in enumerate("xyz"):
                said = VELOCITY_PER_GRID * int(cold[f"{level}p{a}"]) + int(cold[f"{level}v{a}"]) * age
                shown = VELOCITY_PER_GRID * int(records.p[number, axis]) + int(records.v[number, axis]) * held
                assert records.v[number, axis] == cold[f"{level}v{a}"]
                assert abs(said - shown) <= VELOCITY_PER_GRID // 2, "a delta rounds to one point of the grid"
            assert records.components[number][2] == int(slot["state_held"])


def test_nothing_is_sent_twice_while_it_may_be_on_its_way() -> None:
    """Without loss, a datagram view is sent hardly more updates than there are."""
    sent = {}
    for delay in (0, 5):
        world = World(5, 100, 60.0)
        mirror, views = Mirror(cell_units=20 * GRID_PER_M), Views(1, RULES, TICK_MS, datagrams_from=0)
        way = Way(np.random.default_rng(1), 0.0, delay, 0)
        views.open(0, 1, (30 * GRID_PER_M, 0, 30 * GRID_PER_M), 0, 1 << 18)
        counts = 0
        for tick in range(1, 100):
            run([way], world, views, mirror, tick, 1, 16384)
            counts += views.totals.deltas + views.totals.fulls
        sent[delay] = counts
    assert sent[5] < 1.02 * sent[0]


def test_a_client_that_is_gone_for_a_while_is_asked_rarely_and_served_again() -> None:
    world = World(3, 60, 40.0)
    mirror, views = Mirror(cell_units=20 * GRID_PER_M), Views(1, RULES, TICK_MS, datagrams_from=0)
    way = Way(np.random.default_rng(1), 0.0, 1, 0)
    views.open(0, 1, (20 * GRID_PER_M, 0, 20 * GRID_PER_M), 0, 1 << 16)
    run([way], world, views, mirror, 1, 40, 16384)
    before = int(views.state.views["frame"][0])
    way.loss = 1.0
    run([way], world, views, mirror, 41, 100, 16384)
    asked = int(views.state.views["frame"][0]) - before
    assert 2 <= asked <= 60
    way.loss = 0.0
    world.restless = False
    world.vel[:] = 0
    run([way], world, views, mirror, 141, 200, 16384)
    slots = views.state.slot[0]
    live = slots[slots["status"] == LIVE]
    hot = mirror.hot[live["row"]]
    assert len(live) == len(np.flatnonzero(way.records.live))
    assert (live["held"] == np.where(live["level"] == 1, hot["far_version"], hot["version"])).all()


def test_the_own_state_comes_again_until_it_is_acknowledged() -> None:
    world = World(5, 20, 30.0)
    mirror, views = Mirror(cell_units=20 * GRID_PER_M), Views(1, RULES, TICK_MS, datagrams_from=0)
    views.open(0, 1, (15 * GRID_PER_M, 0, 15 * GRID_PER_M), 0, 1 << 18)
    view = views.state.views[0]
    view["rtt_ms"], view["own_due"], view["own_flags"], view["own_seq"] = 50, 1, OWN_MOVED, 7
    unblocked = np.zeros(1, np.uint8)
    told: list[int] = []
    world.restless = False
    for tick in range(1, 60):
        assert mirror.apply(world.step(tick, 5 if tick == 1 else 0, 0, 0, tick == 1))
        mirror.advance(tick)
        for batch in views.frames(tick, tick * TICK_MS, mirror, unblocked):
            for at, length in zip(batch.at.tolist(), batch.length.tolist(), strict=True):
                message = values.decode(bytes(batch.buffer[at : at + length]))
                if message is None:
                    continue
                if message.own is not None:
                    own = np.frombuffer(message.own, OWN)[0]
                    assert (own["seq"], own["flags"]) == (7, OWN_MOVED)
                    told.append(tick)
                # Of all that is sent only what came third with the own state in it is acknowledged.
                if len(told) == 3 and told[-1] == tick:
                    one = np.ones(1, np.uint32)
                    views.take_acks(
                        one - 1, one * np.uint32(message.frame), one, np.zeros(1, np.uint64), tick * TICK_MS
                    )
    assert len(told) == 3
    assert told[1] - told[0] > 1, "while it may be on its way it is not said again"


def test_acknowledgements_name_frames_across_the_wrap() -> None:
    every, second = np.uint64(2**64 - 1), np.uint64(0b10)
    assert is_acked(7, 7, np.uint64(0))
    assert is_acked(5, 7, second)
    assert not is_acked(6, 7, second)
    assert not is_acked(8, 7, every)
    assert is_acked(0xFFFFFFFF, 1, second)
    assert not is_acked(100, 200, every)


@settings(deadline=None)
@given(st.integers(0, 60_000), st.integers(0, 10**10), st.integers(1, 10**9), st.integers(0, 3))
def test_the_priority_of_what_waits_grows_to_the_highest(
    waited: int, distance2: int, radius2: int, weight: int
) -> None:
    now = priority(waited, distance2, radius2, weight)
    assert 1 <= now <= priority(waited + 1, distance2, radius2, weight) <= RINGS - 1
    assert priority(RINGS, distance2, radius2, weight) == RINGS - 1
    assert priority(waited, 0, radius2, weight) >= now
    assert priority(waited, distance2, radius2, weight + 1) == min(2 * now, RINGS - 1)


def test_over_its_budget_the_near_come_more_often_and_nobody_waits_for_ever() -> None:
    world = World(11, 160, 60.0)
    mirror = Mirror(cell_units=20 * GRID_PER_M)
    views = Views(1, ViewRules(radius_m=100.0, near_radius_m=100.0), TICK_MS)
    centre = (30 * GRID_PER_M, 0, 30 * GRID_PER_M)
    views.open(0, 1, centre, 0, 1 << 18, Portion(100.0, 100.0, 1000.0, 200, bytes_per_s=12_000))
    told: dict[int, list[int]] = defaultdict(list)
    records = frames.Records()
    written = 0
    for tick in range(1, 400):
        np.clip(world.vel, -1.0, 1.0, out=world.vel)  # nobody gets out of sight
        assert mirror.apply(world.step(tick, 150 if tick == 1 else 0, 0, 0, tick == 1))
        mirror.advance(tick)
        for batch in views.frames(tick, tick * TICK_MS, mirror, np.zeros(1, np.uint8)):
            written += int(batch.length.sum())
            for data in payload(bytes(batch.buffer[int(batch.at[0]) : int(batch.at[0] + batch.length[0])])):
                message = frames.decode(data)
                if isinstance(message, frames.Structure):
                    records.apply_structure(message)
                elif isinstance(message, frames.Frame):
                    records.apply_frame(message)
                    for number in [*message.delta_number.tolist(), *message.full_number.tolist()]:
                        told[number].append(tick)
        one = np.zeros(1, np.uint32)
        views.take_acks(one, views.state.views["frame"][:1].copy(), one, np.zeros(0, np.uint64), tick * TICK_MS + 5)
    assert written < 12_000 * 21, "twenty seconds, and one that was saved"
    gaps = {number: max(np.diff([150, *(t for t in ticks if t > 150), 400])) for number, ticks in told.items()}
    assert max(gaps.values()) < 3 * RINGS
    distance = np.hypot(*(records.p[:, [0, 2]] - np.array(centre)[[0, 2]]).T)
    near = [len(ticks) for number, ticks in told.items() if distance[number] < 15 * GRID_PER_M]
    far = [len(ticks) for number, ticks in told.items() if distance[number] > 40 * GRID_PER_M]
    assert np.mean(near) > 1.5 * np.mean(far)


def test_over_its_budget_people_come_before_things() -> None:
    """Of two hundred who are about as far away, those of the weighed kind come twice as often."""
    world = World(11, 160, 60.0)
    mirror = Mirror(cell_units=20 * GRID_PER_M)
    mirror.weigh(1, 1)
    views = Views(1, ViewRules(radius_m=400.0, near_radius_m=400.0), TICK_MS)
    centre = (30 * GRID_PER_M, 0, 30 * GRID_PER_M)
    views.open(0, 1, centre, 0, 1 << 18, Portion(400.0, 400.0, 1000.0, 200, bytes_per_s=9_000))
    told: dict[int, int] = defaultdict(int)
    records = frames.Records()
    for tick in range(1, 400):
        np.clip(world.vel, -1.0, 1.0, out=world.vel)
        delta = world.step(tick, 150 if tick == 1 else 0, 0, 0, tick == 1)
        delta.enter_kind = (1 + delta.enter_id % 2).astype("<u2")
        assert mirror.apply(delta)
        mirror.advance(tick)
        for batch in views.frames(tick, tick * TICK_MS, mirror, np.zeros(1, np.uint8)):
            for data in payload(bytes(batch.buffer[int(batch.at[0]) : int(batch.at[0] + batch.length[0])])):
                message = frames.decode(data)
                if isinstance(message, frames.Structure):
                    records.apply_structure(message)
                elif isinstance(message, frames.Frame):
                    records.apply_frame(message)
                    for number in [*message.delta_number.tolist(), *message.full_number.tolist()]:
                        told[number] += tick > 100
        one = np.zeros(1, np.uint32)
        views.take_acks(one, views.state.views["frame"][:1].copy(), one, np.zeros(0, np.uint64), tick * TICK_MS + 5)
    counts = {kind: [n for number, n in told.items() if records.kind[number] == kind] for kind in (1, 2)}
    assert min(map(len, counts.values())) > 20
    assert np.mean(counts[1]) > 1.5 * np.mean(counts[2])
    assert min(counts[2]) > 0, "nobody waits for ever"


def payload(data: bytes) -> list[bytes]:
    """WebSocket frames of a server into their messages."""
    out, at = [], 0
    while at < len(data):
        length, at = data[at + 1], at + 2
        if length == 126:
            length, at = int.from_bytes(data[at : at + 2], "big"), at + 2
        out.append(data[at : at + length])
        at += length
    return out


def test_profiles_stay_within_what_the_world_allows() -> None:
    rules = ViewRules(radius_m=40.0, near_radius_m=15.0, cap=100)
    for profile in PROFILES.values():
        seen = portion_of(profile, rules, 20)
        assert seen.radius_m <= 40.0
        assert seen.near_radius_m <= 15.0
        assert seen.cap <= 100
    assert portion_of(PROFILES["device"], rules, 20).every_ticks == 4
    slow = Profile(rate_hz=5, near_radius_m=0.0, outer_radius_m=20.0, bytes_per_s=8_000)
    wider = slow.but(Profile(radius_m=500.0, bytes_per_s=0))
    assert portion_of(wider, rules, 20) == Portion(40.0, 0.0, 20.0, 100, 4, 0)


def test_a_slow_profile_gets_a_frame_every_few_ticks_and_not_all_in_the_same() -> None:
    world = World(2, 60, 40.0)
    mirror = Mirror(cell_units=20 * GRID_PER_M)
    views = Views(8, RULES, TICK_MS)
    for conn in range(8):
        views.open(
            conn, 1, (20 * GRID_PER_M, 0, 20 * GRID_PER_M), 0, 1 << 18, Portion(60.0, 0.0, 1000.0, 120, every_ticks=4)
        )
    counts: dict[int, list[int]] = defaultdict(list)
    for tick in range(1, 42):
        assert mirror.apply(world.step(tick, 50 if tick == 1 else 0, 0, 0, tick == 1))
        mirror.advance(tick)
        for batch in views.frames(tick, tick * TICK_MS, mirror, np.zeros(8, np.uint8)):
            for conn in batch.conn.tolist():
                counts[conn].append(tick)
        conns = np.arange(8, dtype=np.uint32)
        views.take_acks(conns, views.state.views["frame"].copy(), conns, np.zeros(0, np.uint64), tick * TICK_MS + 5)
    assert all(set(np.diff(ticks[1:])) == {4} for ticks in counts.values())
    assert {ticks[-1] % 4 for ticks in counts.values()} == {0, 1, 2, 3}


def test_each_level_keeps_its_bound_and_the_outermost_costs_least() -> None:
    """Probes against the truth at every tick: near 2 cm, far 12 cm (its tolerance, and rounding), outermost 55 cm."""
    bounds_m = {0: 0.02, 1: 0.12, 2: 0.55}
    counts = dict.fromkeys(bounds_m, 0)
    updates = dict.fromkeys(bounds_m, 0)
    for datagrams in (None, 0):
        world = World(21, 140, 160.0)
        mirror = Mirror(20 * GRID_PER_M, round(0.4 * GRID_PER_M))
        rules = ViewRules(radius_m=100.0, near_radius_m=20.0, outer_radius_m=50.0, cap=140)
        views = Views(1, rules, TICK_MS, datagrams_from=datagrams)
        centre = (80 * GRID_PER_M, 0, 80 * GRID_PER_M)
        views.open(0, 1, centre, 0, 1 << 18)
        records = frames.Records() if datagrams is None else ValueRecords()
        for tick in range(1, 300):
            np.clip(world.vel, -2.0, 2.0, out=world.vel)
            delta = world.step(tick, 130 if tick == 1 else 0, 0, 0, tick == 1)
            assert mirror.apply(delta)
            mirror.advance(tick)
            levels = views.state.slot[0]["level"].copy()
            for batch in views.frames(tick, tick * TICK_MS, mirror, np.zeros(1, np.uint8)):
                for at, length in zip(batch.at.tolist(), batch.length.tolist(), strict=True):
                    data = bytes(batch.buffer[at : at + length])
                    for part in payload(data) if datagrams is None else [data]:
                        message = frames.decode(part)
                        if isinstance(message, frames.Structure):
                            records.apply_structure(message)
                            continue
                        said = message if datagrams is None else values.decode(part)
                        assert said is not None
                        if isinstance(records, ValueRecords):
                            assert isinstance(said, values.Values)
                            assert records.heard(said)
                        else:
                            records.apply_frame(said)
                        for number in [*said.delta_number.tolist(), *said.full_number.tolist()]:
                            updates[int(levels[number])] += 1
            one = np.zeros(1, np.uint32)
            frame = views.state.views["frame"][:1].copy()
            views.take_acks(one, frame, one, np.full(1, 2**64 - 1, np.uint64), tick * TICK_MS + 5)
            place = dict(zip(world.id.tolist(), world.pos, strict=True))
            for number in np.flatnonzero(records.live).tolist():
                level = int(views.state.slot[0][number]["level"])
                ahead = records.v[number] * (tick - int(records.record_tick[number])) / VELOCITY_PER_GRID
                shown = (records.p[number] + ahead) / GRID_PER_M
                off_m = float(np.linalg.norm(shown - place[int(records.id[number])]))
                assert off_m < bounds_m[level], (tick, number, level)
                counts[level] += 1
    share = {level: updates[level] / counts[level] for level in counts}
    assert min(counts.values()) > 1000
    assert share[2] < 0.5 * share[1]
