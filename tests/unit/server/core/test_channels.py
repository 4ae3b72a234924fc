"""Channels: encoded once, applied alike by everybody whenever they come, and never hurt by one who is slow."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from protocol.channels import Camera, ChannelCode, Keyframe, Watch
from protocol.frames import Records, Structure
from protocol.layouts import GRID_PER_M
from protocol.messages import decode_server, pack
from protocol.wsframe import frame
from server.core.audience import BURST_LEAST, COHORTS_MAX, IN_FLIGHT_S
from server.core.cameras import ChannelSpec
from server.core.channels import KEYFRAME_S, REST_S, WATCH_S, apply
from server.core.keyframes import keyframe
from server.core.recording import Recording, StoredKeyframe
from tests.unit.kernels.gateway_world import World
from tests.unit.server.core.theatre import LIVE, RATE_HZ, SQUARE, Theatre, shown

EVERY = RATE_HZ // 5


def test_whoever_comes_whenever_holds_the_same() -> None:
    theatre = Theatre()
    first = theatre.come(0)
    theatre.run(41)
    second = theatre.come(1)
    theatre.run(66)
    third = theatre.come(2)
    reused: set[int] = set()
    held: dict[int, int] = {}
    for _ in range(80):
        theatre.run(1)
        truth = shown(theatre.awake().records)
        assert first.shown == second.shown == truth
        if third.keyframes:
            assert third.shown == truth
        records = first.tv.records
        for number in np.flatnonzero(records.live).tolist():
            if held.setdefault(number, int(records.id[number])) != int(records.id[number]):
                reused.add(number)
                held[number] = int(records.id[number])
    assert len(third.keyframes) == 1
    assert reused, "numbers are used again, and nobody mistook one"
    assert theatre.channels.figures[0].keyframes < 8


def test_it_shows_the_nearest_of_its_place() -> None:
    theatre = Theatre()
    one = theatre.come(0)
    theatre.run(60)
    x, z = (theatre.mirror.hot[name][: theatre.mirror.high] / GRID_PER_M - 60.0 for name in "xz")
    there = theatre.mirror.hot["serial"][: theatre.mirror.high] != 0
    ids = theatre.mirror.cold["id"][: theatre.mirror.high]
    near = set(ids[there & (x * x + z * z < 25.0**2)].tolist())
    assert 0 < len(near) < 60
    assert near <= set(one.shown), "who has been near is shown"
    assert len(one.shown) <= SQUARE.cap


def test_all_get_the_same_slices_and_it_costs_one_encoding() -> None:
    alone, crowded = Theatre(), Theatre(capacity=600)
    alone.come(0)
    watching = [crowded.come(conn) for conn in range(500)]
    for _ in range(20):
        alone.run(1)
        crowded.run(1)
        assert [data for data, _ in crowded.calls] == [data for data, _ in alone.calls]
        assert all(count == 500 for _, count in crowded.calls)
    assert alone.channels.figures[0].entries == crowded.channels.figures[0].entries == 5
    assert crowded.channels.figures[0].keyframes == alone.channels.figures[0].keyframes
    assert len({tuple(one.raw) for one in watching}) == 1


def test_nobody_watching_costs_nothing() -> None:
    theatre = Theatre()
    theatre.run(40)
    assert [figures.entries for figures in theatre.channels.figures] == [0, 0]
    assert theatre.channels.reach_m == 0.0
    assert [len(column) for column in theatre.channels.places()] == [0, 0]
    theatre.come(0)
    theatre.run(8)
    assert [news.event for news in theatre.channels.take_news()] == ["channel_awake"]
    assert theatre.channels.reach_m == pytest.approx(55.0)
    assert theatre.channels.figures[1].entries == 0, "the other one sleeps"
    theatre.channels.leave(0)
    del theatre.sets[0]
    theatre.run(int(REST_S * RATE_HZ) - 1)
    before = theatre.channels.figures[0].entries
    assert theatre.channels.is_awake("square"), "it rests: somebody who zaps comes back"
    theatre.run(EVERY + 1)
    assert not theatre.channels.is_awake("square")
    assert theatre.channels.figures[0].entries <= before + 1
    assert theatre.channels.figures[0].sends > 0
    back = theatre.come(3)
    theatre.run(8)
    assert back.shown == shown(theatre.awake().records)


def test_a_blocked_viewer_costs_itself_frames_and_gets_a_keyframe() -> None:
    theatre, without = Theatre(), Theatre()
    fast, slow = theatre.come(0), theatre.come(1)
    calm = without.come(0)
    theatre.run(20)
    without.run(20)
    theatre.blocked[1] = 1
    given = slow.bytes
    theatre.run(60)
    without.run(60)
    assert slow.bytes == given
    assert fast.raw == calm.raw, "the other one notices nothing"
    theatre.blocked[1] = 0
    theatre.run(EVERY + 1)
    assert len(slow.keyframes) == 2
    theatre.run(20)
    assert slow.shown == fast.shown
    assert theatre.channels.audience.lagged == 1


def test_a_short_block_is_made_up_for_without_a_keyframe() -> None:
    theatre = Theatre()
    fast, slow = theatre.come(0), theatre.come(1)
    theatre.run(20)
    theatre.blocked[1] = 1
    theatre.run(3 * EVERY)
    theatre.blocked[1] = 0
    theatre.run(2)
    assert slow.shown == fast.shown
    assert slow.frames == fast.frames
    assert len(slow.keyframes) == 1


def test_one_who_does_not_acknowledge_gets_nothing_until_it_does() -> None:
    theatre = Theatre()
    one = theatre.come(0)
    theatre.run(20)
    one.acks = False
    before = one.frames
    theatre.run(200)
    assert one.frames - before <= IN_FLIGHT_S * 5 + 2, "a proxy may swallow bytes; acknowledgements cannot be swallowed"
    assert len(one.keyframes) == 1
    one.acks = True
    theatre.run(2 * EVERY)
    assert len(one.keyframes) == 2
    assert one.shown == shown(theatre.awake().records)


def test_who_comes_late_may_take_as_long_to_acknowledge_as_who_came_first() -> None:
    theatre = Theatre()
    theatre.come(0)
    theatre.run(300)
    late = theatre.come(1)
    late.acks = False
    theatre.run(40)
    assert late.frames >= 8, "frames before its time do not count as unacknowledged"
    assert len(late.keyframes) == 1


def test_the_oldest_part_is_forgotten_under_whoever_plays_it() -> None:
    theatre = Theatre()
    live = theatre.come(0)
    theatre.run(30 * RATE_HZ)
    late = theatre.come(1, "square", 25)
    theatre.run(20)
    recording = theatre.awake().recording
    recording.oldest = recording.next - 40  # as if what came meanwhile had been larger
    theatre.run(3)
    assert len(late.keyframes) == 2
    theatre.run(40)
    assert late.keyframes[1].tick > late.keyframes[0].tick + 10 * RATE_HZ
    assert late.tv.records.tick < live.tv.records.tick
    assert late.frames > 8


def test_switching() -> None:
    theatre = Theatre()
    one, other = theatre.come(0, "square"), theatre.come(1, None)
    theatre.run(30)
    assert [answer.name for answer in other.answers] == ["square"], "nil is the first channel of the world"
    theatre.channels.ask(0, Watch("live"))
    theatre.run(30)
    assert [answer.stream for answer in one.answers] == [2, 3]
    assert one.shown == shown(theatre.awake(1).records)
    assert other.shown == shown(theatre.awake(0).records)
    theatre.channels.ask(0, Watch("nothing of that name"))
    theatre.run(10)
    assert one.answers[-1].code == ChannelCode.UNKNOWN
    assert "square, live" in one.answers[-1].text
    assert one.shown == shown(theatre.awake(1).records), "what is watched goes on"
    theatre.channels.ask(0, Watch(""))
    theatre.run(11)
    given = one.bytes
    theatre.run(20)
    assert (one.answers[-1].code, one.bytes) == (ChannelCode.OFF, given)


def test_zapping_fast_costs_two_keyframes_a_second() -> None:
    theatre = Theatre()
    one = theatre.come(0)
    for turn in range(5 * RATE_HZ):
        theatre.channels.ask(0, Watch(("square", "live")[turn % 2]))
        theatre.run(1)
    assert len(one.keyframes) <= 5 / WATCH_S + 1


def test_only_a_television_watches() -> None:
    answer = Theatre().channels.ask(5, Watch("square"))
    assert answer is not None
    assert answer.code == ChannelCode.PROFILE


def test_a_minute_ago() -> None:
    theatre = Theatre()
    live = theatre.come(0)
    past: dict[int, Any] = {}
    for _ in range(40 * RATE_HZ):
        theatre.run(1)
        past[live.tv.records.tick] = live.shown
    late = theatre.come(1, "square", 20)
    theatre.run(1)
    [answer] = late.answers
    assert 20_000 <= answer.behind_ms <= 20_000 + 1000 * KEYFRAME_S + 400
    began = late.keyframes[0].tick
    assert theatre.tick - began == pytest.approx(answer.behind_ms / 1000 * RATE_HZ, abs=EVERY + 1)
    for _ in range(10 * RATE_HZ):
        theatre.run(1)
        past[live.tv.records.tick] = live.shown
        assert late.shown == past[late.tv.records.tick], "the past is as it was"
    behind_s = (live.tv.records.tick - late.tv.records.tick) / RATE_HZ
    assert behind_s == pytest.approx(answer.behind_ms / 1000, abs=0.5), "it plays at the pace of the present"
    theatre.channels.ask(1, Watch("square", 60))
    theatre.run(11)
    assert late.answers[-1].behind_ms > 40_000, "no more than there is"
    theatre.channels.ask(1, Watch("square", 0))
    theatre.run(11)
    assert late.shown == live.shown


def test_a_large_audience_is_served_over_several_ticks_and_each_once() -> None:
    count = 3 * BURST_LEAST
    theatre = Theatre(capacity=count)
    for conn in range(count - 1):
        theatre.channels.enter(conn)
        theatre.channels.ask(conn, Watch("square"))
    watching = theatre.come(count - 1)
    audience = theatre.channels.audience
    theatre.run(2 * EVERY)
    most = 0
    for _ in range(10 * EVERY):
        theatre.move()
        theatre.show()
        audience.acked[:] = audience.sent
        most = max(most, sum(served for _, served in theatre.calls))
    assert most == BURST_LEAST
    newest = theatre.awake().recording.newest
    assert (audience.cursor >= newest).all(), "nobody is left behind"
    assert watching.keyframes
    assert audience.lagged == 0


def test_a_gateway_that_is_late_serves_all_in_turn() -> None:
    count = 3 * BURST_LEAST
    theatre = Theatre(capacity=count)
    for conn in range(count):
        theatre.channels.enter(conn)
        theatre.channels.ask(conn, Watch("square"))
    audience = theatre.channels.audience
    theatre.run(4 * EVERY)
    for _ in range(60):
        theatre.tick += 1  # it makes every second tick of the world, so that one burst for each entry is too little
        theatre.move()
        theatre.show()
        audience.acked[:] = audience.sent
    assert audience.lagged == 0, "those who are furthest behind come first"
    assert (theatre.awake().recording.newest - audience.cursor).max() <= 3


def test_another_schema_begins_anew() -> None:
    theatre = Theatre()
    one = theatre.come(0)
    theatre.run(40)
    theatre.channels.begin_anew()
    theatre.run(20)
    assert len(one.keyframes) == 2
    assert one.shown == shown(theatre.awake().records)
    assert len(one.shown) > 20


def test_records_too_old_for_a_keyframe_are_renewed_for_all() -> None:
    theatre = Theatre()
    theatre.world.restless = False
    theatre.world.vel[:] = 0.0
    first = theatre.come(0)
    for _ in range(80):
        theatre.move(0, 0)
        theatre.show()
    awake = theatre.awake()
    numbers = np.flatnonzero(awake.records.live)[:4]
    for records in (awake.records, first.tv.records):  # as if a budget had starved them for half a minute
        records.record_tick[numbers] -= 300
        records.v[numbers, 0] = 7
    second = theatre.come(1)
    for _ in range(EVERY * 2):
        theatre.move(0, 0)
        theatre.show()
    assert len(second.shown) > 20
    assert second.shown == first.shown == shown(awake.records), "nobody moves, so nothing else would mend it"


def test_who_breaks_off_in_the_middle_of_a_keyframe_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    # Long names: a keyframe of several pieces, one of which fits a tick.
    monkeypatch.setattr(World, "blob", lambda world, row: pack({1: "n" * 240, 2: row}))
    theatre = Theatre((replace(SQUARE, radius_m=120.0, cap=500, bytes_per_s=60_000),), people=500)
    first = theatre.come(0)
    theatre.run(300)
    assert len(first.shown) > 150
    second = theatre.come(1)
    theatre.run(1)
    assert second.keyframes
    assert second.tv.applied == 0, "it has the first part of several"
    theatre.channels.leave(1)
    del theatre.sets[1]
    third = theatre.come(1)
    theatre.run(4 * EVERY)
    assert third.shown == first.shown


def test_keyframes_for_those_who_do_not_read_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "blob", lambda world, row: pack({1: "n" * 240, 2: row}))
    theatre = Theatre((replace(SQUARE, radius_m=120.0, cap=120, bytes_per_s=60_000),), capacity=64, people=200)
    live = theatre.come(0)
    theatre.run(60)
    mute = []
    for conn in range(1, 60):
        mute.append(theatre.come(conn))
        theatre.run(1)
        theatre.blocked[conn] = mute[-1].tv.applied == 0  # it has the first piece of its keyframe, and reads no more
        theatre.run(EVERY - 1)
    assert theatre.blocked.sum() > COHORTS_MAX
    assert len(theatre.channels.audience._cohorts[0]) == COHORTS_MAX
    theatre.blocked[:] = 0
    theatre.run(8 * EVERY)
    assert all(one.shown == live.shown for one in mute)


def test_a_keyframe_of_entities_that_are_far_from_each_other() -> None:
    records, again = Records(), Records()
    numbers = np.array([0, 3, 9], "<u2")
    for k, number in enumerate(numbers.tolist()):
        records.sseq = k
        records.apply_structure(
            Structure(
                k + 1, 40, 5, (k * 50_000, 0, -k * 40_000),
                enter_id=np.array([100 + k], "<u8"), enter_number=np.array([number], "<u2"),
                enter_kind=np.ones(1, "<u2"),
                enter_p=np.array([[k, 2, 3]], "<i2"), enter_v=np.array([[4, 0, -k]], "<i2"),
                enter_age=np.array([7], "u1"), enter_yaw=np.array([k], "u1"), enter_blobs=[pack({1: "x" * k})],
            )
        )  # fmt: skip
    records.sseq, records.frame = 1, 5
    made = keyframe(records, 2, 40, [Camera(2, 40, 0, None, (1, 2, 3), (4, 5, 6), "on")])
    begun = decode_server(made.messages[0])
    assert isinstance(begun, Keyframe)
    assert (begun.parts, begun.sseq) == (len(made.messages) - 1, (1 - begun.parts) % 2**32), "numbers wrap"
    assert begun.parts > 2, "one origin does not reach all"
    again.sseq = begun.sseq
    apply(again, b"".join(frame(message) for message in made.messages[1:]))
    again.tick = records.tick = 40
    assert shown(again) == shown(records)
    assert again.sseq == records.sseq


def test_the_guide_says_what_is_on() -> None:
    theatre = Theatre()
    theatre.come(0, "live")
    theatre.run(120)
    square, live = theatre.channels.guide()
    assert (square["name"], square["title"], square["viewers"], square["awake"]) == ("square", "The square", 0, False)
    assert (live["viewers"], live["awake"], live["rate_hz"]) == (1, True, 5.0)
    assert live["on"].endswith("people")
    assert 0 <= live["behind_s_max"] <= 6


def test_names_are_names() -> None:
    with pytest.raises(ValueError, match="same name"):
        Theatre((SQUARE, SQUARE))
    with pytest.raises(ValueError, match="at most 64"):
        Theatre([ChannelSpec(str(n)) for n in range(65)])


# ------------------------------------------------------------------------------------------------------------ recording
def test_a_recording_keeps_what_fits() -> None:
    recording = Recording(entries=50, bytes_max=16_384)
    kept: dict[int, bytes] = {}
    rng = np.random.default_rng(3)
    for number in range(400):
        entry = rng.bytes(int(rng.choice([0, 0, 700, 3000])))
        recording.append(entry, number)
        kept[number] = entry
        if number % 9 == 0:
            recording.save(StoredKeyframe(number, number, [b"key"]))
        assert recording.next - recording.oldest <= 50
        assert all(stored.after + 1 >= recording.oldest for stored in recording.keyframes)
        cursors = np.arange(recording.oldest, recording.next)
        got = recording.slices(cursors, np.full(len(cursors), recording.newest))
        for cursor, at, length, after in zip(cursors.tolist(), *(column.tolist() for column in got), strict=True):
            assert after > cursor
            want = b"".join(kept[entry] for entry in range(cursor, after))
            assert recording.data[at : at + length].tobytes() == want
            assert length <= 16_384
        assert recording.next - recording.oldest >= min(number + 1, 4), "as many as there is room for"
        assert recording.frame_of(cursors).tolist() == cursors.tolist()
    with pytest.raises(ValueError, match="at most"):
        recording.append(bytes(16_385), 1)


def test_the_keyframe_before_an_entry() -> None:
    recording = Recording(entries=100, bytes_max=1 << 16)
    assert recording.keyframe_before(5) is None
    for number in range(30):
        recording.append(b"x", number)
        if number in (4, 14, 24):
            recording.save(StoredKeyframe(number, number, [b"key"]))
    found = [recording.keyframe_before(entry) for entry in (0, 4, 13, 14, 29)]
    assert [stored.after for stored in found if stored is not None] == [4, 4, 4, 14, 24]


def test_live_is_the_liveliest_place() -> None:
    """A crowd that stands together far from everything is what the director shows."""
    theatre = Theatre((LIVE,), people=40)
    there = np.flatnonzero(theatre.world.alive)[:25]
    theatre.world.restless = False
    theatre.world.vel[:] = 0.0
    theatre.world.pos[there] = np.array([400.0, 0.0, -300.0]) + theatre.world.rng.normal(0, 3, (25, 3)) * [1, 0, 1]
    one = theatre.come(0, "live")
    for _ in range(20):
        theatre.move(0, 0)
        theatre.show()
    [camera] = one.cameras
    assert np.hypot(camera.look[0] / GRID_PER_M - 400, camera.look[2] / GRID_PER_M + 300) < 5
    assert camera.move_ms == 0
    assert set(theatre.world.id[there].tolist()) <= set(one.shown)


def test_numbers_of_frames_come_round_for_whoever_watches() -> None:
    theatre = Theatre()
    first = theatre.come(1)
    theatre.run(10)
    view = theatre.channels._views.state.views[0]
    view["frame"] = view["acked"] = 2**32 - 6
    theatre.channels.begin_anew()
    theatre.awake().records.frame = 2**32 - 6
    theatre.run(12)
    assert first.tv.applied > 2**31, "not yet"
    theatre.run(24)
    late = theatre.come(2)
    theatre.run(20)
    assert first.tv.records.frame == late.tv.records.frame < 100
    assert first.shown == late.shown
    assert len(first.keyframes) == 2, "the one that it began with, and that of the new schema"
    assert theatre.channels.audience.lagged == 0
