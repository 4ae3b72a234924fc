"""One run over any number of processes: who measures, who gathers, when it is judged.

Theory of operation. Each worker tallies what its users see and sends that to the master once a second; the master adds
it up, which is exact because tallies are counts (``histogram``). When the run is to end the master asks all workers for
the rest, waits for their answers, and judges then. A process without workers is both. Invariant: each count arrives
once; whoever goes missing is named in the report. Not responsible for: locust's own statistics, which it gathers by
itself.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from locust.env import Environment
from locust.rpc.protocol import Message
from locust.runners import MasterRunner, Runner, WorkerRunner

from loadtest.budgets import Verdict, judge
from loadtest.load import Load
from loadtest.report.content import Run
from loadtest.scraping import Scraper
from loadtest.tally import Tally

TALLY, FLUSH = "isthmus_tally", "isthmus_flush"
REPORT_S = 1.0
FLUSH_S = 5.0
"""How long the master waits for the last counts of a worker."""


class Worker:
    """The part of a process that sends what it measures to a master."""

    def __init__(self, load: Load, runner: WorkerRunner) -> None:
        self._load, self._runner = load, runner
        self._reporting: gevent.Greenlet[..., None] | None = None
        runner.register_message(FLUSH, self._flush)

    def start(self) -> None:
        """A run begins."""
        self.stop()
        self._load.begin(self._runner.worker_index)
        self._reporting = gevent.spawn(self._report)

    def stop(self) -> None:
        """The users are gone."""
        if self._reporting is not None:
            self._reporting.kill()
            self._reporting = None
        self._load.measuring.stop()

    def _report(self) -> None:
        while True:
            gevent.sleep(REPORT_S)
            self._send(None)

    def _flush(self, environment: Environment, msg: Message, **_: Any) -> None:
        self._send(msg.data["number"])

    def _send(self, flush: int | None) -> None:
        problem = self._load.map_problem
        self._runner.send_message(TALLY, {"taken": self._load.measuring.take(), "flush": flush, "problem": problem})


class Gathering:
    """What the process that judges knows of a run. ``ended``: called with it when it is over."""

    def __init__(self, load: Load, runner: Runner, scraper: Scraper, ended: Callable[["Gathering"], None]) -> None:
        self.load, self.scraper = load, scraper
        self.scenario = load.scenario
        self.began_s = self.ended_s = 0.0
        self.verdict: Verdict | None = None
        self.notes: list[str] = []
        """What a reader should know of this run."""
        self._runner = runner
        self._ended = ended
        self._merged = Tally()
        self._flushes = 0
        self._flushed: set[str] = set()
        if isinstance(runner, MasterRunner):
            runner.register_message(TALLY, self._told)

    @property
    def tally(self) -> Tally:
        """All that was measured so far."""
        return self._merged if isinstance(self._runner, MasterRunner) else self.load.measuring.tally

    def told(self) -> Run:
        """What is known of it now."""
        lost = self.scraper.unanswered
        gaps = [f"{lost} times a gateway did not answer /metrics: gaps in the server's lines"] if lost else []
        until_s = self.ended_s or time.time()
        notes = [*self.notes, *gaps]
        return Run(self.scenario, self.tally, self.scraper.series, self.began_s, until_s, self.verdict, notes)

    def start(self, gateways: Sequence[str]) -> None:
        """A run against these begins."""
        self._merged.clear()
        self.notes.clear()
        self.verdict, self.began_s, self.ended_s = None, time.time(), 0.0
        if not isinstance(self._runner, MasterRunner):
            self.load.begin(0)
        self.scraper.start(gateways)

    def stopping(self) -> None:
        """The run is about to end: what counts is what was measured until now."""
        if self.ended_s or not self.began_s:
            return
        ended_s = time.time()
        if isinstance(self._runner, MasterRunner):
            self._flush(self._runner)
        self.ended_s = ended_s
        self.load.measuring.stop()
        self.scraper.stop()
        if self.load.map_problem is not None:
            self.note(self.load.map_problem)
        self.verdict = judge(self.scenario, self.tally, self.began_s, self.ended_s)
        self._ended(self)

    def note(self, text: str) -> None:
        """Once is enough."""
        if text not in self.notes:
            self.notes.append(text)

    def _told(self, environment: Environment, msg: Message, **_: Any) -> None:
        if self.ended_s:
            return  # of users who are leaving
        try:
            self._merged.merge(msg.data["taken"])
        except ValueError as problem:
            self.note(f"worker {msg.node_id} sent what is no tally ({problem}): is it of this version?")
        if msg.data["problem"]:
            self.note(msg.data["problem"])
        if msg.data["flush"] == self._flushes:
            self._flushed.add(msg.node_id)

    def _flush(self, runner: MasterRunner) -> None:
        self._flushes += 1
        self._flushed.clear()
        asked = {client.id for client in runner.clients.ready + runner.clients.spawning + runner.clients.running}
        runner.send_message(FLUSH, {"number": self._flushes})
        end_s = time.monotonic() + FLUSH_S
        while not asked <= self._flushed and time.monotonic() < end_s:
            gevent.sleep(0.02)
        for silent in sorted(asked - self._flushed):
            self.note(f"worker {silent} did not send its last second: what it measured there is missing")
