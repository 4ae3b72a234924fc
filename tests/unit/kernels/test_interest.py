"""The gateway's kernels against their plain twins, over random worlds, crowds, acknowledgements and budgets."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.layout import FITS, LIVE
from kernels.pace import take_acks
from protocol import crowds, frames
from protocol.layouts import GRID_PER_M
from protocol.link import RegionDelta
from server.core.mirror import Mirror
from server.core.views import Batch, ViewRules, Views
from tests.reference.interest import DELTA, FULL, Entity, NaiveView
from tests.unit.kernels.gateway_world import World

TICK_MS = 50
WHOLE = ("serial", "x", "z", "version", "prev", "tick", "far_version", "far_prev", "far_tick", "state_version")
RADII = ("radius", "leave_radius", "near_radius", "near_leave_radius")


def messages(data: bytes) -> list[bytes]:
    """Cut WebSocket frames, as a server writes them, into their payloads."""
    out, at = [], 0
    while at < len(data):
        assert data[at] == 0x82
        length, at = data[at + 1], at + 2
        if length == 126:
            length, at = int.from_bytes(data[at : at + 2], "big"), at + 2
        out.append(data[at : at + length])
        at += length
    return out


def payloads(batch: Batch) -> dict[int, list[bytes]]:
    ends = batch.at + batch.length
    spans = zip(batch.conn.tolist(), batch.at.tolist(), ends.tolist(), strict=True)
    return {conn: messages(bytes(batch.buffer[a:b])) for conn, a, b in spans}


def entities(mirror: Mirror) -> dict[int, Entity]:
    """By row, in the order of the cells: which of several may enter under a cap follows it."""
    out = {}
    for row in mirror.grid.row[: mirror.count].tolist():
        h, c = mirror.hot[row], mirror.cold[row]
        whole = {n: int(h[n]) for n in WHOLE}
        place = int(c["px"]), int(c["py"]), int(c["pz"])
        far_place = int(c["far_px"]), int(c["far_py"]), int(c["far_pz"])
        fits, far_fits = bool(h["near"] & FITS), bool(h["far"] & FITS)
        out[row] = Entity(**whole, delta_fits=fits, far_delta_fits=far_fits, place=place, far_place=far_place)
    return out


def acknowledge(views: Views, conns: list[int], now_ms: int) -> None:
    conn = np.array(conns, np.uint32)
    frame = views.state.views["frame"][conn].copy()
    assert take_acks(conn, frame, frame, now_ms, views.state, np.zeros(len(conn) + 1, np.int32)) == 0


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cap=st.sampled_from([8, 30, 200]),
    extent_m=st.sampled_from([40.0, 150.0, 600.0]),
    snapshot_at=st.integers(5, 25),
)
def test_views_are_told_what_the_twins_say(seed: int, cap: int, extent_m: float, snapshot_at: int) -> None:
    world = World(seed, 160, extent_m)
    rules = ViewRules(radius_m=60.0, near_radius_m=20.0, cap=cap)
    mirror, views = Mirror(cell_units=20 * GRID_PER_M), Views(4, rules, TICK_MS)
    unblocked = np.zeros(4, np.uint8)
    records = [frames.Records() for _ in range(4)]
    v = views.state.views
    naive: list[NaiveView] = []
    for tick in range(1, 30):
        delta = world.step(tick, 80 if tick == 1 else 2, 2, 3, snapshot=tick in (1, snapshot_at))
        assert mirror.apply(RegionDelta.decode(delta.encode()))
        if tick in (1, snapshot_at):
            for conn in range(4):
                if tick == 1:
                    views.open(conn, 1, (0, 0, 0), tick * TICK_MS)
                    v["window_bytes"][conn] = 1 << 18
                    radius, leave, near, near_leave = (int(v[n][conn]) for n in RADII)
                    naive.append(NaiveView(radius, leave, near, near_leave, cap))
                row = int(np.flatnonzero(mirror.hot["serial"])[conn])
                views.set_body(conn, row, mirror)
        mirror.advance(tick)
        held = {conn: set(known.known) for conn, known in enumerate(naive)}
        serial_of = {int(mirror.cold["id"][row]): e.serial for row, e in entities(mirror).items()}
        sent: dict[int, list[bytes]] = {}
        for batch in views.frames(tick, tick * TICK_MS, mirror, unblocked):
            sent |= payloads(batch)
        present = entities(mirror)
        for conn in range(4):
            centre = int(v["x"][conn]), int(v["y"][conn]), int(v["z"][conn])
            told = naive[conn].step(centre, int(v["body_serial"][conn]), present, tick)
            before = {int(i): n for n, i in enumerate(records[conn].id.tolist()) if records[conn].live[n]}
            number_id = {n: i for i, n in before.items()}
            enters: set[int] = set()
            leaves = 0
            updates: dict[int, str] = {}
            states: set[int] = set()
            for data in sent.get(conn, []):
                if crowds.decode(data) is not None:
                    continue  # of those beyond the cap: test_crowds
                message = frames.decode(data)
                if isinstance(message, frames.Structure):
                    assert frames.encode_structure(message) == data
                    records[conn].apply_structure(message)
                    enters = {serial_of[i] for i in message.enter_id.tolist()}
                    leaves = len(message.leave_number)
                    states = {serial_of[number_id[n]] for n in message.state_number.tolist()}
                else:
                    assert isinstance(message, frames.Frame)
                    assert frames.encode_frame(message) == data
                    updates = {serial_of[number_id[n]]: DELTA for n in message.delta_number.tolist()}
                    updates |= {serial_of[number_id[n]]: FULL for n in message.full_number.tolist()}
                    records[conn].apply_frame(message)
            assert (enters, leaves, updates, states) == (told.enters, len(told.leaves), told.updates, told.states)
            assert len(held[conn] - set(naive[conn].known)) == leaves
            check_records(records[conn], naive[conn], mirror, tick)
        acknowledge(views, [c for c in range(4) if cap < 200 or world.rng.random() < 0.8], tick * TICK_MS + 20)


def check_records(records: frames.Records, naive: NaiveView, mirror: Mirror, tick: int) -> None:
    """The client holds, to the bit, the record that the view believes it holds."""
    live = np.flatnonzero(records.live)
    assert len(live) == len(naive.known)
    row_of = {int(mirror.cold["id"][known.row]): (known, known.row) for known in naive.known.values()}
    for number in live.tolist():
        known, row = row_of[int(records.id[number])]
        level = "far_" if known.far else ""
        place = [int(mirror.cold[f"{level}p{a}"][row]) for a in "xyz"]
        velocity = [int(mirror.cold[f"{level}v{a}"][row]) for a in "xyz"]
        assert records.p[number].tolist() == place
        assert records.v[number].tolist() == velocity
        age = tick - int(mirror.hot[f"{level}tick"][row])
        assert tick - int(records.record_tick[number]) == age or velocity == [0, 0, 0]
        assert records.components[number][2] == int(known.state_held)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), budget=st.integers(400, 3000))
def test_a_small_budget_delays_but_starves_nobody(seed: int, budget: int) -> None:
    world = World(seed, 120, 60.0)
    mirror, views = Mirror(cell_units=20 * GRID_PER_M), Views(1, ViewRules(radius_m=100.0, near_radius_m=30.0), TICK_MS)
    records = frames.Records()
    views.open(0, 1, (30 * GRID_PER_M, 0, 30 * GRID_PER_M), 0)
    for tick in range(1, 160):
        moving = tick < 60
        if not moving:
            world.restless = False
            world.vel[:] = 0
        delta = world.step(tick, 100 if tick == 1 else 0, 0, 2 if moving else 0, snapshot=tick == 1)
        assert mirror.apply(delta)
        mirror.advance(tick)
        for batch in views.frames(tick, tick * TICK_MS, mirror, np.zeros(1, np.uint8), budget):
            for data in payloads(batch)[0]:
                message = frames.decode(data)
                assert len(data) <= budget + 64
                if isinstance(message, frames.Structure):
                    records.apply_structure(message)
                else:
                    assert isinstance(message, frames.Frame)
                    records.apply_frame(message)
        acknowledge(views, [0], tick * TICK_MS + 5)
    assert int(records.live.sum()) == mirror.count
    slots = views.state.slot[0]
    live = slots[slots["status"] == LIVE]
    hot = mirror.hot[live["row"]]
    assert (live["held"] == np.where(live["level"] == 1, hot["far_version"], hot["version"])).all()
    assert (live["state_held"] == hot["state_version"]).all()
