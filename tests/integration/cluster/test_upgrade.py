"""Nobody notices when a cluster of real processes is upgraded to a release that speaks newer versions, and scaled down.

Everything is ended by SIGTERM alone, one process after the other from the highest number on, as StatefulSets of
Kubernetes do it; nothing is kept (``memory:``), so that a region that was not handed over would be noticed. Half of the
people go by UDP, half speak the next version of the wire as well. How many frames are late is measured by ``python -m
bench.upgrade``, not here.
"""

import asyncio
from pathlib import Path

import aiohttp
import pytest
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from bench.autoscale.settings import GATEWAY, SHARD, read
from bench.upgrade.crowd import Person, crowd, meet, settled, taken
from bench.upgrade.next_release import LINKS, WIRE
from bench.upgrade.sets import NEXT, Sets
from client.shell.connection import ws_url

PEOPLE = 8
CORRECTION_M = 0.1


@pytest.mark.timeout(300)  # where kernels are not compiled yet its first processes do it
def test_nobody_notices_an_upgrade_to_another_version_nor_that_there_are_fewer_processes(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_upgrade(tmp_path))


async def _upgrade(folder: Path) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10.0)) as session:
        cluster = Sets(folder, session, shards=2, gateways=2, options=["--world-inhabitants-count", "40"])
        try:
            await cluster.start()
            await cluster.settled()
            async with crowd(cluster.urls, PEOPLE, session) as people:
                await settled("coming", people)
                meet(people)
                await _what_the_autoscaler_asks_for_is_there(cluster, session)
                sessions = [set(person.sessions) for person in people]
                await _all_but_a_gateway_and_a_shard(cluster, people)
                assert [person.sessions for person in people] == sessions
                assert all(len(person.bodies) == 1 for person in people)
                assert set((await cluster.owners()).values()) == {"shard-0"}
        finally:
            await cluster.children.end()


async def _what_the_autoscaler_asks_for_is_there(cluster: Sets, session: aiohttp.ClientSession) -> None:
    """Each metric that a query of k8s/components/autoscaling names is one that a process serves."""
    shard = f"http://127.0.0.1:{cluster.observed['shard-0']}"
    for path, url in ((SHARD, shard), (GATEWAY, cluster.urls["gateway-0"])):
        async with session.get(f"{url}/metrics") as answer:
            families = list(text_string_to_metric_families(await answer.text()))
        served = {sample.name: sample.value for family in families for sample in family.samples}
        for trigger in read(path).triggers:
            missing = [name for name in trigger.names if name not in served]
            assert not missing, f"{path.name}, {trigger.name}"
            assert served[trigger.names[0]] > 0.0, f"{path.name}, {trigger.name}: people are there"


async def _all_but_a_gateway_and_a_shard(cluster: Sets, people: list[Person]) -> None:
    for name in (*reversed(cluster.shards), *reversed(cluster.gateways), "placer-0"):
        await cluster.replace(name, NEXT)
        await _unnoticed(f"{name} was replaced", cluster, people)
        if name == "gateway-1":
            upgraded = ws_url(cluster.urls[name])
            for person in people:
                newest = person.core.url == upgraded and person.core.config.versions == WIRE
                assert person.versions[-1] == WIRE[newest], "each gateway speaks what it and its client can"
    assert {person.versions[-1] for person in people if person.core.config.versions == WIRE} == {WIRE[1]}
    assert {person.versions[-1] for person in people if person.core.config.versions != WIRE} == {WIRE[0]}
    assert f'"version": {LINKS[0]}' in cluster.log("gateway-1").read_text(), "old and new processes had links"
    assert f'"version": {LINKS[1]}' in cluster.log("gateway-1").read_text(), "and new ones among themselves, at last"
    for name in (cluster.shards[-1], cluster.gateways[-1]):
        await cluster.remove(name)
        await _unnoticed(f"{name} was removed", cluster, people)


async def _unnoticed(what: str, cluster: Sets, people: list[Person]) -> None:
    """Wait until all have got used to it; nobody may have noticed anything."""
    await settled(what, people)
    found = taken(people)
    assert not found.unplanned, f"{what}: connections ended before there was the next one"
    assert not found.odd, what
    assert found.correction_m <= CORRECTION_M, what
    owners = await cluster.owners()
    assert owners, what
    assert "" not in owners.values(), f"{what}: regions without an owner"
