"""``python -m loadtest SCENARIO``: a local cluster, locust against it, a report, and an exit status by the budgets.

Decides what is started. With ``--host`` the cluster is somebody else's, and none is started. Exit status: 0 all
budgets were kept, 1 some were not, 2 nothing that can be judged (a wrong scenario, no server, a generator that was
itself late).
Not responsible for: load (``locustfile``).
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from loadtest.budgets import Exit
from loadtest.cluster import ClusterFailed, running
from loadtest.reading import ScenarioError, known, read

LOCUSTFILE = Path(__file__).with_name("locustfile.py")


def arguments() -> argparse.ArgumentParser:
    """What the command line takes; everything after ``--`` is locust's."""
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__.partition("\n")[0])
    parser.add_argument("scenario", nargs="?", help=f"one of {', '.join(known())}, or the path of a .toml file")
    parser.add_argument("--host", help="a server that runs already; several gateways with commas between them")
    parser.add_argument(
        "--processes", type=int, default=0, help="worker processes that make the load [0: this one alone]"
    )
    parser.add_argument("--web", action="store_true", help="locust's page instead of a headless run")
    parser.add_argument("--web-port", type=int, default=8089)
    parser.add_argument("--report", type=Path, help="where the report goes [.isthmus/load/<scenario>-<time>]")
    parser.add_argument("--check", action="store_true", help="say whether the scenario is right, and start nothing")
    parser.add_argument("--list", action="store_true", help="show the scenarios that come with the project")
    return parser


def main() -> int:
    """Exit status."""
    own, locusts = _split(sys.argv[1:])
    parser = arguments()
    given = parser.parse_args(own)
    if given.list:
        for name in known():
            sys.stdout.write(f"{name:16} {read(name).description}\n")
        return Exit.KEPT
    if given.scenario is None:
        parser.error("name a scenario; --list shows ours")
    try:
        scenario = read(given.scenario)
    except ScenarioError as problem:
        sys.stderr.write(f"{problem}\n")
        return Exit.INVALID
    if given.check:
        sys.stdout.write(f"{scenario.path}: {len(scenario.users)} kinds of users, {scenario.users_most} at most\n")
        return Exit.KEPT
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = (given.report or Path(".isthmus") / "load" / f"{scenario.path.stem}-{stamp}").absolute()
    signal.signal(signal.SIGTERM, _end)
    with ExitStack() as stack:
        more: list[str] = []
        host = given.host
        if host is None:
            sys.stderr.write(f"Starting {scenario.shards} shards and {scenario.gateways} gateways; logs in {folder}\n")
            try:
                cluster = stack.enter_context(running(scenario, folder))
            except ClusterFailed as problem:
                sys.stderr.write(f"{problem}\n")
                return Exit.INVALID
            host = ",".join(cluster.gateways)
            more = ["--cluster-pid", str(cluster.pid)]
        if given.processes:
            more += ["--processes", str(given.processes)]
        if given.web:
            more += ["--web-port", str(given.web_port), "--web-host", "127.0.0.1"]
        else:
            more += ["--headless", "--only-summary"]
        line = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--scenario", str(scenario.path)]
        return _locust([*line, "--host", host, "--report", str(folder), *more, *locusts])


def _end(*_: object) -> None:
    """SIGTERM: what was started is ended on the way out."""
    raise SystemExit(Exit.INVALID)


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _locust(line: list[str]) -> int:
    """Run it to its end. A Ctrl-C reaches locust as well, which then judges what it has; a SIGTERM is handed on."""
    paths = [str(LOCUSTFILE.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    with subprocess.Popen(line, env=environment) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue


if __name__ == "__main__":
    sys.exit(main())
