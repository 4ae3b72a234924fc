"""Sessions that are told to go on at another gateway while this one serves on."""

import numpy as np

from protocol.codes import Close
from protocol.messages import Move, Welcome
from server.session.actions import AttachBody, OpenView, ReleaseBody
from tests.unit.server.session.rig import closed, messages, of
from tests.unit.server.session.test_company import Gateways

WITHIN_MS = 10_000
WINDOW_BYTES = 5000
"""As the rig's world has it for connection 0."""


def pair() -> tuple[Gateways, Welcome]:
    """Two gateways that know of each other, and Ann at the first one."""
    world = Gateways()
    world.pass_time(ticks=2)
    welcome = world.join(1, 0, "user:ann:Ann")
    world.pass_time(ticks=2)
    return world, welcome


def tell(world: Gateways) -> Move:
    here = world.rigs[1]
    [move] = messages(here.sessions.send([(0, "wss://b/ws")], WITHIN_MS, here.now_s), Move)
    return move


def go(world: Gateways, move: Move) -> Welcome:
    there = world.rigs[2]
    there.connect(4)
    [ask] = of(there.hello(4, None, resume=move.ticket), AttachBody)
    did = there.attach(ask)
    assert [view.window_bytes for view in of(did, OpenView)] == [WINDOW_BYTES], "it need not be found out again"
    [welcome] = messages(did, Welcome)
    return welcome


def test_who_is_sent_has_the_same_session_there_and_looks_on_here_until_it_has_switched() -> None:
    world, first = pair()
    move = tell(world)
    assert (move.url, move.within_ms) == ("wss://b/ws", WITHIN_MS)
    again = go(world, move)
    assert (again.session, again.body) == (first.session, first.body)
    world.told(1)
    world.pass_time(ticks=2)
    did = world.told(1)
    assert closed(did) == {}
    assert of(did, ReleaseBody), "its commands go to the other gateway from now on"
    here = world.rigs[1]
    here.sessions.lost(0, here.now_s)
    world.pass_time(ticks=60)
    assert [rig.sessions.held for rig in world.rigs.values()] == [0, 1]
    assert here.sessions.switching.moved == {"affinity": 1}


def test_who_does_not_switch_by_itself_is_closed_a_second_later() -> None:
    world, _ = pair()
    go(world, tell(world))
    world.pass_time(ticks=15)
    assert closed(world.told(1)) == {}
    world.pass_time(ticks=10)
    assert closed(world.told(1)) == {0: Close.MOVED}


def test_who_cannot_go_stays_and_counts_again() -> None:
    world, _ = pair()
    here = world.rigs[1]
    switching = here.sessions.switching
    assert switching.staying(here.now_s).tolist() == [0]
    tell(world)
    assert switching.staying(here.now_s).tolist() == []
    world.pass_time(1.0, ticks=12)
    assert closed(world.told(1)) == {}
    conns = switching.staying(here.now_s)
    assert conns.tolist() == [0]
    assert switching.rested(conns, here.now_s - 30.0).tolist() == [False], "asked a moment ago"
    assert switching.rested(conns, here.now_s - 11.0).tolist() == [True]


def test_who_came_from_another_gateway_rests_also_after_a_new_connection() -> None:
    world, _ = pair()
    welcome = go(world, tell(world))
    there = world.rigs[2]
    for conn in (4, 5):
        conns = there.sessions.switching.staying(there.now_s)
        assert conns.tolist() == [conn]
        assert there.sessions.switching.rested(conns, there.now_s - 30.0).tolist() == [False]
        if conn == 4:
            there.sessions.lost(4, there.now_s)
            there.connect(5)
            [ask] = of(there.hello(5, None, resume=welcome.resume), AttachBody)
            there.attach(ask)
    newcomers = world.rigs[1]
    newcomers.join(7, "user:bob:Bob")
    assert newcomers.sessions.switching.rested(np.array([7], np.int32), newcomers.now_s - 30.0).all()


def test_who_goes_elsewhere_long_after_it_was_told_is_replaced_at_once() -> None:
    """By another window, perhaps: this one must not come back."""
    world, _ = pair()
    tell(world)
    world.pass_time(1.0, ticks=12)
    world.told(1)
    there = world.rigs[2]
    there.connect(4)
    [ask] = of(there.hello(4, "user:ann:Ann"), AttachBody)
    there.attach(ask)
    world.pass_time(ticks=2)
    assert closed(world.told(1)) == {0: Close.REPLACED}


def test_nobody_is_told_who_is_not_here_any_more() -> None:
    world, _ = pair()
    go(world, tell(world))
    world.pass_time(ticks=2)
    here = world.rigs[1]
    assert here.sessions.send([(0, "wss://c/ws"), (9, "wss://c/ws")], WITHIN_MS, here.now_s) == []
