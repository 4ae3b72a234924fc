"""``python -m bench.soak``: a real cluster in trouble all the time, and whether anything in it grows.

etcd, a PostgreSQL of its own, a placer, three shards and two gateways as processes; people who join, walk, act, talk
and leave; one disturbance after the other, drawn from ``--seed``. ``--minutes 2`` shows whether it runs at all (nothing
lives long enough to be judged then, so that it cannot pass, and it is not kept). ``--write`` renews docs/SOAK.md.

Exit status: 0 when nothing grew and nobody complained, else 1.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import aiohttp
import asyncpg
import numpy as np
import uvloop
from rich.console import Console

from bench.report import machine, record, show_targets
from bench.soak.cluster import PATIENCE_S, SoakCluster, SoakFailed, until
from bench.soak.people import Now, People
from bench.soak.report import Done, Outcome, show, write
from bench.soak.troubles import TROUBLES, Scene, drawn
from bench.soak.watching import Watching
from isthmus.config.model import Logging
from isthmus.logging import configure
from tests.integration.durable.servers import running

SHARDS, GATEWAYS = 3, 2
PEOPLE = 16
"""``report.BOUNDS`` counts on it, and on DUCKS."""
SAMPLE_S = 5.0
DUCKS = 200
"""As bench/worlds/soak.toml has it."""
KEPT_MINUTES = 12.0
"""A shorter run judges nothing, and is not kept in results.jsonl."""
REST_S = (2.0, 6.0)
"""Between two disturbances."""


async def _disturb(scene: Scene, kind: str, people: People) -> Done:
    """One disturbance, until the cluster is whole and everybody has got an answer to what was said afterwards."""
    loop = asyncio.get_running_loop()
    began_s, what, problem = loop.time(), "", ""
    scene.now.kind = scene.now.trouble = kind
    try:
        what = await TROUBLES[kind](scene)
        scene.now.trouble = f"{kind} {what}"
        before = list(people.answered)
        await scene.cluster.settled()
        # Two: the first may have been on its way.
        await until(
            f"everybody goes on after {kind} {what}",
            lambda: all(now >= then + 2 for now, then in zip(people.answered, before, strict=True)),
        )
    except (SoakFailed, aiohttp.ClientError, TimeoutError) as failed:
        problem = str(failed) or type(failed).__name__
    scene.now.calm_down()
    return Done(kind, what, began_s, loop.time() - began_s, problem)


async def _leftovers(cluster: SoakCluster, watching: Watching) -> list[str]:
    """When all have left there are the ducks and nothing else: no session, no body."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + PATIENCE_S
    while True:
        sessions = sum([int((await cluster.status(name))["sessions"]) for name in cluster.gateways])
        entities = await watching.living()
        if (sessions, entities) == (0, DUCKS):
            return []
        if loop.time() > end_s:
            return [f"when all have gone there are {sessions} sessions and {entities} entities instead of {DUCKS}"]
        await asyncio.sleep(1.0)


async def _soak(folder: Path, durable_url: str, given: argparse.Namespace, console: Console) -> Outcome:
    loop, rng, now = asyncio.get_running_loop(), np.random.default_rng(given.seed), Now()
    done: list[Done] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10.0)) as session:
        cluster = SoakCluster(folder, session, durable_url, SHARDS, GATEWAYS)
        try:
            await cluster.start()
            await cluster.settled()
            database = await asyncpg.connect(durable_url)
            watching = Watching(cluster, database, SAMPLE_S)
            people = People(PEOPLE, list(cluster.urls.values()), session, now, given.seed)
            async with asyncio.TaskGroup() as tasks:
                crowd = tasks.create_task(people.run())
                watcher = tasks.create_task(watching.run())
                await until("everybody acts", lambda: all(people.answered))
                end_s, scene = loop.time() + 60.0 * given.minutes, Scene(cluster, now, rng)
                kinds = drawn(rng)
                while loop.time() < end_s and cluster.children.failed is None:
                    done.append(await _disturb(scene, next(kinds), people))
                    last = done[-1]
                    console.print(
                        f"{(end_s - loop.time()) / 60:5.1f} min left  {last.kind} {last.what}: {last.took_s:.1f} s  "
                        f"{people.tally.deeds} deeds  {len(people.tally.complaints)} complaints  {last.problem}",
                        highlight=False, markup=False,
                    )  # fmt: skip
                    await asyncio.sleep(float(rng.uniform(*REST_S)))
                people.stopping.set()
                await crowd
                problems = await _leftovers(cluster, watching)
                if cluster.children.failed is not None:
                    problems.append(cluster.children.failed)
                watcher.cancel()
                with suppress(asyncio.CancelledError):
                    await watcher
            await database.close()
        finally:
            await cluster.children.end()
    return Outcome(given.minutes, PEOPLE, given.seed, done, people.tally, problems, dict(watching.series))


def main() -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="renew docs/SOAK.md")
    given = parser.parse_args()
    console = Console(width=170)
    configure(Logging(level="error"))
    # Not removed: when somebody complains, or something grows, the logs of all processes and all samples tell why.
    folder = Path(tempfile.mkdtemp(prefix="isthmus-soak-"))
    folder.chmod(0o711)  # PostgreSQL may run as another user
    console.print(f"logs of all processes, and samples.json: {folder}", markup=False)
    with running(folder) as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(_soak(folder, server.url, given, console))
    samples = {f"{who} {figure}": values for (who, figure), values in outcome.series.items()}
    (folder / "samples.json").write_text(json.dumps(samples))
    show(console, outcome)
    targets = outcome.targets()
    show_targets(console, targets)
    if given.minutes >= KEPT_MINUTES:
        record(outcome.figures(), targets)
    if given.write:
        write(outcome, f"Measured on {machine()['cpu']}, {machine()['cores']} cores.")
    return int(any(target.verdict == "MISSED" for target in targets))


if __name__ == "__main__":
    sys.exit(main())
