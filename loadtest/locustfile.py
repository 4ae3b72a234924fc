"""The file that locust is given: ``locust -f loadtest/locustfile.py --scenario stadium --host http://127.0.0.1:8080``.

Decides how a scenario becomes locust's: a user class for each entry of the mix, a shape from the ramp, options, an exit
status from the budgets. The scenario must be known before locust reads its options, since classes are made of it when
this file is loaded; workers on other machines are given the same one. Invariant: a wrong scenario ends the process
with a text that says what to do, before anything is started. Not responsible for: a server to talk to (``python -m
loadtest`` starts one).
"""

import argparse
import importlib.util
import os
import sys
import time
from pathlib import Path
from typing import Any

from locust import LoadTestShape, events, runners
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner
from locust.web import WebUI

from loadtest import users
from loadtest.budgets import Exit
from loadtest.collecting import Gathering, Worker
from loadtest.load import Load
from loadtest.ramp import aim, scaled
from loadtest.reading import ScenarioError, known, read
from loadtest.report.content import content
from loadtest.report.writing import summary, write
from loadtest.scenario import Entry, Scenario
from loadtest.scraping import Scraper
from loadtest.webpage import extend

ENVIRONMENT = "LOCUST_SCENARIO"
REPORTS = Path(".isthmus") / "load"
WORKER_SILENT_S = 15
"""A worker that is held up for less is still one: to give its users to another would hide what held it up."""


def _options(parser: argparse.ArgumentParser) -> None:
    """Ours, as ``locust --help`` shows them."""
    group = parser.add_argument_group("Isthmus", "The scenario, and what it is run against.")
    group.add_argument(
        "--scenario",
        default=os.environ.get(ENVIRONMENT, "city"),
        metavar="NAME",
        help=f"One of {', '.join(known())}, or the path of a .toml file [env var: {ENVIRONMENT}]",
    )
    group.add_argument(
        "--report", default="", metavar="FOLDER", help="Where the report goes [.isthmus/load/<scenario>-<time>]"
    )
    group.add_argument("--tokens", default="", metavar="FILE", help="A token in each line, for a server without guests")
    group.add_argument("--scale", type=float, default=1.0, help="So many times the scenario's users [1]")
    group.add_argument("--cluster-pid", type=int, default=None, help=argparse.SUPPRESS)


def chosen(arguments: list[str]) -> Scenario:
    """The scenario that the command line names. Ends the process if there is none, or it is wrong."""
    parser = argparse.ArgumentParser(add_help=False)
    _options(parser)
    try:
        given = parser.parse_known_args(arguments)[0]
        return scaled(read(given.scenario), given.scale)
    except ValueError as problem:  # a ScenarioError, or a scale that is none
        sys.stderr.write(f"{problem}\n")
        sys.exit(Exit.INVALID)


def base_of(entry: Entry, scenario: Scenario) -> type[users.WorldUser]:
    """The class that an entry names. Raises ScenarioError."""
    if entry.kind in users.KINDS:
        return users.KINDS[entry.kind]
    file, _, name = entry.kind.rpartition(":")
    path = scenario.path.parent / file
    spec = importlib.util.spec_from_file_location(f"loadtest_own_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ScenarioError(f"{scenario.path}: kind {entry.kind!r}: there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, users.WorldUser)):
        raise ScenarioError(f"{scenario.path}: {path} has no class {name} that derives from a user of loadtest.users")
    return found


SCENARIO = chosen(sys.argv[1:])
LOAD = Load(SCENARIO)
hooks: Any = events
"""locust's events have no types."""


class ScenarioShape(LoadTestShape):
    """The scenario's ramp."""

    abstract = False

    def tick(self) -> tuple[int, float] | None:
        """See LoadTestShape."""
        assert self.runner is not None
        return aim(SCENARIO.ramp, time.perf_counter() - self.start_time, self.runner.user_count)


def _classes() -> dict[str, type[users.WorldUser]]:
    try:
        made = [users.make(base_of(entry, SCENARIO), name, entry, LOAD) for name, entry in SCENARIO.users.items()]
    except ScenarioError as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(Exit.INVALID)
    return {each.__name__: each for each in made}


globals().update(_classes())


def _add_options(parser: LocustArgumentParser, **_: Any) -> None:
    _options(parser)


def _ended(run: Gathering, folder: str) -> None:
    """Write the report; the terminal gets its path and the verdict."""
    told = content(run.told())
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(run.began_s))
    own = Path(folder) if folder else REPORTS / f"{SCENARIO.path.stem}-{stamp}"
    page = write(own.absolute(), told)
    sys.stdout.write(f"{summary(told, page)}\n")
    sys.stdout.flush()


def _init(environment: Environment, runner: Any, web_ui: WebUI | None, **_: Any) -> None:
    options = environment.parsed_options
    assert options is not None

    def gateways() -> list[str]:
        return [each.strip() for each in (environment.host or "").split(",") if each.strip()]

    def configure() -> None:
        # When a run begins: a worker is told the master's options then, and the page may name another host.
        tokens = Path(options.tokens).read_text().split() if options.tokens else None
        LOAD.configure(gateways(), tokens, options.expect_workers or 1)

    hooks.test_start.add_listener(lambda **_: configure())
    if isinstance(runner, WorkerRunner):
        worker = Worker(LOAD, runner)
        hooks.test_start.add_listener(lambda **_: worker.start())
        hooks.test_stop.add_listener(lambda **_: worker.stop())
        hooks.quitting.add_listener(lambda **_: setattr(environment, "process_exit_code", 0))
        return
    run = Gathering(LOAD, runner, Scraper(options.cluster_pid), lambda run: _ended(run, options.report))
    hooks.test_start.add_listener(lambda **_: run.start(gateways()))
    hooks.test_stopping.add_listener(lambda **_: run.stopping())
    hooks.quitting.add_listener(lambda **_: _judge(environment, run))
    if web_ui is not None:
        extend(web_ui, run)


def _judge(environment: Environment, run: Gathering) -> None:
    """The exit status: the last run's verdict."""
    run.stopping()
    if run.verdict is not None:
        environment.process_exit_code = int(run.verdict.exit)
    elif environment.web_ui is None:
        environment.process_exit_code = int(Exit.INVALID)


runners.HEARTBEAT_LIVENESS = WORKER_SILENT_S
hooks.init_command_line_parser.add_listener(_add_options)
hooks.init.add_listener(_init)
