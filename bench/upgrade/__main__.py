"""``python -m bench.upgrade``: a cluster of real processes is upgraded and scaled down under people who walk and act.

Every shard, gateway and the placer are replaced by a release that speaks the next version of links and wire, one after
the other, then there is a shard and a gateway less; each step again and again for ``--rounds``. Then loaded processes
are told to end, for the figure that terminationGracePeriodSeconds stands on. ``--write`` renews docs/SCALING.md.

Exit status: 0 when every target is met, 1 when one is missed, 2 when the cluster did not come back.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import aiohttp
import uvloop
from rich.console import Console

from bench.report import machine, record, show_targets
from bench.soak.cluster import SoakFailed
from bench.upgrade.crowd import crowd, meet, settled, taken
from bench.upgrade.figures import Ending, Step, document, targets
from bench.upgrade.sets import NEXT, TODAY, Sets
from bench.written import PAGE, write
from isthmus.config.model import Logging
from isthmus.logging import configure

SHARDS, GATEWAYS = 3, 3
PEOPLE = 24
REST_S = 10.0
LEVEL, DUCKS, BOTS = 3, 1000, 200
"""Of the loaded processes: 64 regions for two shards, entities in them, and clients of two gateways."""


async def _upgraded(folder: Path, rounds: int, count: int, console: Console) -> list[Step]:
    """All steps of all rounds; the first is rest. Raises SoakFailed."""
    steps = {what: Step(what) for what in ("nothing", "shard replaced", "gateway replaced", "placer replaced")}
    steps |= {what: Step(what) for what in ("a shard less", "a gateway less", "a shard more", "a gateway more")}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10.0)) as session:
        cluster = Sets(folder, session, SHARDS, GATEWAYS)
        try:
            await cluster.start()
            await cluster.settled()
            async with crowd(cluster.urls, count, session) as people:
                await settled("coming", people)
                meet(people)

                async def noted(what: str, name: str, ended_s: float | None) -> None:
                    await settled(f"{what} {name}", people)
                    step, found = steps[what], taken(people)
                    step.ended_s += [] if ended_s is None else [ended_s]
                    step.noticed.add(found)
                    late, most = found.late(2), max(found.gaps_ticks, default=0)
                    console.print(
                        f"{what} {name}: ended {ended_s}, {late} late, gap {most}, {found.unplanned}{found.odd}"
                    )

                for number in range(rounds):
                    release = TODAY if number % 2 else NEXT
                    await asyncio.sleep(REST_S)
                    await noted("nothing", "", None)
                    for name in (*reversed(cluster.shards), *reversed(cluster.gateways), "placer-0"):
                        await noted(f"{name.partition('-')[0]} replaced", name, await cluster.replace(name, release))
                    for names in (cluster.shards, cluster.gateways):
                        name, kind = names[-1], names[-1].partition("-")[0]
                        await noted(f"a {kind} less", name, await cluster.remove(name))
                        await cluster.add(name)
                        await noted(f"a {kind} more", name, None)
        finally:
            await cluster.children.end()
    return list(steps.values())


async def _ended(folder: Path) -> list[Ending]:
    """How long loaded processes take to end. Raises SoakFailed."""
    options = ["--cluster-region-level", str(LEVEL), "--cluster-region-side-m", "512"]
    options += ["--world-inhabitants-count", str(DUCKS)]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10.0)) as session:
        cluster = Sets(folder, session, 2, 2, options)
        bots = None
        try:
            await cluster.start()
            await cluster.settled()
            line = [sys.executable, "-m", "isthmus", "bots", str(BOTS), "--url", cluster.urls["gateway-1"]]
            bots = await asyncio.create_subprocess_exec(*line, "--headless-walk", stdout=asyncio.subprocess.DEVNULL)
            held: dict[str, int] = {}
            while sum(held.values()) < BOTS:
                await asyncio.sleep(1.0)
                status = await cluster.status()
                held = {member["member"]: member["sessions"] or 0 for member in status["members"]}
            regions = sum(owner == "shard-1" for owner in (await cluster.owners()).values())
            shard_s = await cluster.remove("shard-1")
            gateway_s = await cluster.remove("gateway-1")
        finally:
            if bots is not None and bots.returncode is None:
                bots.terminate()
                await bots.wait()
            await cluster.children.end()
    return [
        Ending("shard", f"{regions} of {4**LEVEL} regions with {DUCKS:,} entities", shard_s),
        Ending("gateway", f"{held['gateway-1']} of {BOTS} sessions", gateway_s),
    ]


def _text(error: BaseException) -> str:
    """Of the first error of a group of groups."""
    return _text(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else str(error)


def main() -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.upgrade", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--write", action="store_true", help="renew docs/SCALING.md")
    given = parser.parse_args()
    console = Console(width=170)
    configure(Logging(level="error"))
    folder = Path(tempfile.mkdtemp(prefix="isthmus-upgrade-"))
    console.print(f"logs of all processes: {folder}", markup=False)
    for part in ("rolling", "loaded"):
        (folder / part).mkdir()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            steps = runner.run(_upgraded(folder / "rolling", given.rounds, given.people, console))
            endings = runner.run(_ended(folder / "loaded"))
    except* SoakFailed as failed:  # from within the task groups of clients
        console.print(_text(failed), style="bold red", markup=False)
        sys.exit(2)
    told = document(
        steps, endings, given.people, f"{machine()['cores']} cores of {machine()['cpu']}, {given.rounds} rounds,"
    )
    console.print(told, markup=False)
    held = targets(steps[1:], steps[0])
    show_targets(console, held)
    record({"upgrade": [step.row() for step in steps], "endings": [e.ended_s for e in endings]}, held)
    if given.write:
        write(PAGE, "upgrade", told)
    return int(any(target.verdict == "MISSED" for target in held))


if __name__ == "__main__":
    sys.exit(main())
