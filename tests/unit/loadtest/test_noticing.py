"""What a client goes through: delays, gaps, freezes and staleness, on a time that the test turns."""

from dataclasses import dataclass, field
from typing import cast

import pytest

from client.clock import ServerClock
from client.core import ClientCore
from loadtest.noticing import FREEZE_FRAMES, Noticing
from loadtest.tally import Cell


@dataclass
class _Stats:
    frames: int = 0


@dataclass
class _Entities:
    tick: int = 0


@dataclass
class _Channel:
    channel: object = None
    applied: int = 0


@dataclass
class _Core:
    """The part of a core that is looked at."""

    newest_seq: int = 0
    acknowledged_seq: int = 0
    connected: bool = True
    on_datagrams: bool = False
    welcome: object = "yes"
    television: _Channel | None = None
    stats: _Stats = field(default_factory=_Stats)
    entities: _Entities = field(default_factory=_Entities)


class Story:
    """One client, one cell, and a server that answers each command ``delay_ms`` later."""

    def __init__(self, television: bool = False) -> None:
        self.core = _Core(television=_Channel() if television else None)
        self.cell = Cell()
        self.noticing = Noticing()
        self.news = ServerClock(20)
        self.noticing.welcomed(self.news, 50.0, 200.0 if television else 50.0, False)
        self.now_ms = 1000.0

    @property
    def seen(self) -> ClientCore:
        return cast(ClientCore, self.core)

    def command(self) -> None:
        self.core.newest_seq += 1
        self.noticing.acted(self.seen, self.now_ms)

    def frame(self, tick: int, answers: int | None = None) -> float | None:
        self.core.stats.frames += 1
        self.core.entities.tick = tick
        if answers is not None:
            self.core.acknowledged_seq = answers
        return self.noticing.heard(self.seen, self.cell, self.now_ms)

    def look(self) -> None:
        self.noticing.look(self.seen, self.cell, self.now_ms)

    def walk(self, ticks: int, first: int = 0, answers_late: int = 1) -> None:
        """A command and a frame in each tick; a command is answered so many frames later."""
        for k in range(first, first + ticks):
            self.command()
            self.frame(k, max(0, self.core.newest_seq - answers_late))
            self.look()
            self.now_ms += 50.0

    def p(self, name: str, part: float = 1.0) -> float | None:
        histogram = self.cell.histograms.get(name)
        return None if histogram is None else histogram.percentile(part)


def test_a_steady_walk() -> None:
    story = Story()
    story.walk(40, answers_late=2)
    assert story.cell.histograms["input_delay_ms"].count == 38
    assert story.p("input_delay_ms") == 100.0
    assert story.p("frame_gap_ms") == 50.0
    assert story.cell.counts["frozen_ms"] == 0.0
    assert story.p("stale_ms") == 0.0
    assert story.cell.counts["client_ms"] == 39 * 50.0
    assert story.cell.counts["jump_ms"] == 0.0


def test_several_inputs_are_answered_by_one_frame() -> None:
    story = Story()
    for _ in range(4):
        story.command()
        story.now_ms += 50.0
    assert story.frame(7, answers=4) == 50.0
    assert story.cell.histograms["input_delay_ms"].count == 4
    assert story.p("input_delay_ms") == 200.0


def test_numbers_of_inputs_wrap_around() -> None:
    story = Story()
    story.core.newest_seq = 0xFFFFFFFE
    story.command()
    story.core.newest_seq = 0
    story.noticing.acted(story.seen, story.now_ms)
    story.now_ms += 30.0
    story.frame(1, answers=0xFFFFFFFF)
    story.frame(2, answers=0)
    assert story.cell.histograms["input_delay_ms"].count == 2


def test_a_freeze_is_counted_while_it_lasts_and_once() -> None:
    story = Story()
    story.walk(20)
    began_ms = story.now_ms - 50.0  # the last frame
    for _ in range(10):
        story.command()
        story.look()
        story.now_ms += 50.0
    frozen_ms = story.cell.counts["frozen_ms"]
    assert frozen_ms == pytest.approx(story.now_ms - 50.0 - began_ms - FREEZE_FRAMES * 50.0)
    story.frame(31, answers=30)
    assert story.cell.counts["frozen_ms"] == pytest.approx(story.now_ms - began_ms - FREEZE_FRAMES * 50.0)
    assert story.p("frame_gap_ms") == story.now_ms - began_ms
    assert (story.p("stale_ms") or 0.0) >= 450.0


def test_who_stands_waits_for_nothing() -> None:
    story = Story()
    story.walk(20, answers_late=0)
    frozen = story.cell.counts["frozen_ms"]
    samples = story.cell.histograms["stale_ms"].count
    story.now_ms += 300.0  # no commands any more
    for second in range(5):
        story.look()
        story.frame(20 + 20 * second)  # the server's sign of life
        story.now_ms += 1000.0
    assert story.cell.counts["frozen_ms"] == frozen
    assert story.cell.histograms["stale_ms"].count == samples
    before = story.cell.histograms["frame_gap_ms"].count
    story.walk(5, first=200, answers_late=0)
    assert story.cell.histograms["frame_gap_ms"].count == before + 5
    assert (story.p("frame_gap_ms") or 0.0) <= 50.0  # the rest is no gap


def test_a_connection_that_is_lost_in_mid_walk_is_a_freeze() -> None:
    story = Story()
    story.walk(20)
    story.core.connected = False
    for _ in range(20):
        story.look()
        story.now_ms += 100.0
    assert story.cell.counts["frozen_ms"] > 1500.0
    story.core.connected = True
    story.noticing.welcomed(story.news, 50.0, 50.0, True)
    story.frame(60, answers=20)
    assert (story.p("frame_gap_ms") or 0.0) >= 2000.0
    assert story.cell.counts["jump_ms"] > 1500.0


def test_a_body_that_is_another_one_has_no_inputs_waiting() -> None:
    story = Story()
    story.command()
    story.noticing.welcomed(story.news, 50.0, 50.0, False)
    story.core.newest_seq = 0
    story.command()
    story.now_ms += 40.0
    assert story.frame(3, answers=1) == 40.0
    assert story.cell.histograms["input_delay_ms"].count == 1


def test_a_television_is_due_its_channel_alone() -> None:
    story = Story(television=True)
    assert story.core.television is not None
    story.look()
    story.frame(1)
    assert story.p("frame_gap_ms") is None  # nothing is watched yet
    story.core.television.channel, story.core.television.applied = "live", 1
    for k in range(10):
        story.frame(4 * k)
        story.look()
        story.now_ms += 200.0
    assert story.p("frame_gap_ms") == 200.0
    assert story.cell.counts["frozen_ms"] == 0.0
    story.now_ms += 1000.0
    story.look()
    assert story.cell.counts["frozen_ms"] == pytest.approx(1200.0 - FREEZE_FRAMES * 200.0)


def test_staleness_is_beyond_the_best_that_anybody_saw() -> None:
    quick, slow = Story(), Story()
    slow.noticing.welcomed(quick.news, 50.0, 50.0, False)
    for k in range(1, 20):
        for story in (quick, slow):
            story.command()
            story.now_ms = 1000.0 + 50.0 * k + (80.0 if story is slow else 0.0)
            story.frame(k)
            story.look()
    assert quick.p("stale_ms") == 0.0
    assert slow.p("stale_ms", 0.5) == pytest.approx(80.0, rel=0.02)


def test_who_waits_outside_is_counted_before_the_first_welcome_and_after_a_loss() -> None:
    story = Story()
    story.core.connected, story.core.welcome = False, None
    for _ in range(5):
        story.look()
        story.now_ms += 100.0
    story.core.connected, story.core.welcome = True, "yes"
    story.look()
    assert story.cell.counts["outside_ms"] == 400.0
    story.core.connected = False
    story.now_ms += 100.0
    story.look()
    assert story.cell.counts["outside_ms"] == 500.0
