"""What a client may claim to have seen: no tick that its connection cannot have shown."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.acting import Act, Answer
from protocol.frames import Frame, decode
from protocol.messages import Ack, decode_server, encode_client
from server.core.outgoing import Deliver
from server.core.seeing import DELAY_MS, MARGIN_MS, RTT_MOST_MS, RTT_UNKNOWN_MS, bounds
from shard.behaviours.api import Script
from shard.behaviours.world import Rows, World
from shard.config import ShardConfig
from shard.region import RegionCore
from tests.sim.doors import hot, split
from tests.sim.world import place, script
from tests.unit.server.core.test_gateway import NOBODY, Rig

TICK_MS = 50


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 30), st.sampled_from([1000 / 20, 1000 / 60, 1.0, 1000.0]))
def test_bounds_hold_what_an_honest_client_shows(tick: int, rtt_ms: int, tick_ms: float) -> None:
    oldest, newest = bounds(tick, rtt_ms, tick_ms)
    assert 0 <= oldest <= newest == tick
    shown = tick - (min(rtt_ms, RTT_MOST_MS) + DELAY_MS) / tick_ms
    assert oldest <= max(0, shown)
    assert (tick - oldest) * tick_ms < RTT_MOST_MS + DELAY_MS + MARGIN_MS + tick_ms
    assert bounds(tick, None, tick_ms) == bounds(tick, RTT_UNKNOWN_MS, tick_ms)


def looking() -> Script:
    """Whoever acts is told which tick it can have shown of the one that it claims."""
    made = Script("looking")
    made.look_back(1.0)

    @made.action("look")
    def look(world: World, rows: Rows, payloads: list[float]) -> list[float]:
        return [world.shown_tick(int(rows.id[0]), payloads[0])]

    return made


class Shooter(Rig):
    """One client that acknowledges each frame ``late`` ticks after it was sent (None: nothing), and claims."""

    def __init__(self, late: int | None) -> None:
        super().__init__()
        self.shard = RegionCore(ShardConfig(seed=1), place(), [script(), looking()])
        self.step(1)
        self.late, self.acks = late, deque[tuple[int, int]]()
        self.tick = self.enter(0, 1)
        self.core.views.state.views[0]["rtt_window_end_ms"] = 0  # as it was before anything was acknowledged
        self.core.views.state.views[0]["rtt_ms"] = 1000
        self.number = 0

    def turn(self) -> list[Answer]:
        """A tick of everything; what the client is answered."""
        now_s, heard = self.tick / 20, list[bytes]()
        while self.acks and self.acks[0][0] <= self.tick:
            self.core.take_inbound(hot([(0, Ack(self.acks.popleft()[1], 0))]), now_s)
        self.core._heard_s[0] = now_s
        self.step(self.tick)
        self.core.tick(self.tick, now_s)
        for output in self.core.take():
            assert isinstance(output, Deliver)
            heard.append(output.data)
        frames = list[bytes]()
        for batch in self.core.frames(self.tick, now_s, NOBODY):
            for at, length in zip(batch.at.tolist(), batch.length.tolist(), strict=True):
                split(bytes(batch.buffer[at : at + length]), frames.append)
        for block in map(decode, frames):
            if isinstance(block, Frame) and self.late is not None:
                self.acks.append((self.tick + self.late, block.frame))
        self.tick += 1
        answers = [message for message in map(decode_server, heard) if isinstance(message, Answer)]
        return answers

    def claim(self, back: float) -> float:
        """It says that it saw the tick ``back`` before the newest that was sent; how far back it is believed."""
        newest = self.tick - 1
        self.number += 1
        self.core.said(0, encode_client(Act(self.number, "look", float(newest - back))), self.tick / 20)
        for _ in range(5):
            for answer in self.turn():
                assert (answer.number, answer.code) == (self.number, 0)
                return newest - float(answer.value)
        raise AssertionError("it is not answered")


@pytest.mark.parametrize("late", [1, 3, 5])
def test_an_older_tick_than_its_connection_explains_is_not_believed(late: int) -> None:
    """Acknowledgements come ``late`` ticks after the frame: 50, 150 and 250 ms."""
    shooter = Shooter(late)
    for _ in range(40):
        shooter.turn()
    honest = late + DELAY_MS / TICK_MS
    most = late + (DELAY_MS + MARGIN_MS) / TICK_MS
    assert shooter.claim(honest) == honest
    assert shooter.claim(honest + 0.5) == honest + 0.5
    assert shooter.shard.state.links.counts["looks at what cannot have been seen"] == 0
    for back in (most + 0.5, 19.0, 1e12):
        assert shooter.claim(back) == most
    assert shooter.claim(-3.0) == 0, "what was not sent yet, nobody has seen"
    assert shooter.shard.state.links.counts["looks at what cannot have been seen"] == 4


def test_who_acknowledges_nothing_is_not_taken_to_be_far_away() -> None:
    shooter = Shooter(None)
    for _ in range(20):
        shooter.turn()
    assert shooter.claim(19.0) == (RTT_UNKNOWN_MS + DELAY_MS + MARGIN_MS) / TICK_MS


def test_who_acknowledges_late_always_gains_so_much_and_no_more() -> None:
    shooter = Shooter(18)
    for _ in range(60):
        shooter.turn()
    assert shooter.core.views.state.views[0]["rtt_ms"] > RTT_MOST_MS
    assert shooter.claim(19.5) == (RTT_MOST_MS + DELAY_MS + MARGIN_MS) / TICK_MS


def test_the_bounds_are_of_when_it_was_said() -> None:
    """Who acts faster than allowed waits for its turn, and is judged by what it saw before that."""
    shooter = Shooter(1)
    for _ in range(40):
        shooter.turn()
    newest = shooter.tick - 1
    for number in range(1, 17):
        shooter.core.said(0, encode_client(Act(number, "look", float(newest - 1))), shooter.tick / 20)
    answers = list[Answer]()
    for _ in range(40):
        answers += shooter.turn()
    for number in range(17, 33):
        shooter.core.said(0, encode_client(Act(number, "look", float(shooter.tick - 2))), shooter.tick / 20)
    claimed = float(shooter.tick - 2)
    late = list[Answer]()
    for _ in range(60):
        late += shooter.turn()
    assert [answer.value for answer in answers] == [newest - 1.0] * 16
    assert [answer.value for answer in late] == [claimed] * 16
