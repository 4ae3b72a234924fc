"""Televisions at a real server: two of them on a channel, one later than the other, and what is on."""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest

from client import CameraMoved, ChannelBegan, Client, ClientConfig, NotWatching, Watching
from client.core import ClientCore
from tests.integration.lossy import relay
from tests.integration.server import Server, serving, write_world
from tests.integration.transport.harness import until

CHANNELS = """
[[channel]]
name = "pond"
title = "The pond"
camera = "fixed"
radius_m = 60

[[channel]]
name = "duck"
camera = "follow"
follow_kind = "duck"

[[channel]]
name = "live"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("tv")
    with serving(write_world(folder, CHANNELS, ducks=40)) as started:
        yield started


def television(server: Server, name: str) -> Client:
    url = server.url.replace("http", "ws", 1) + "/ws"
    return Client(ClientConfig(url, name, server.guest(name), profile="tv"))


async def heard(tv: Client, kind: type) -> object:
    """The next event of a kind."""
    async with asyncio.timeout(20):
        async for event in tv.events():
            if isinstance(event, kind):
                return event
    raise AssertionError("unreachable")


def picture(core: ClientCore) -> dict[int, list[float]]:
    records = core.entities
    ids, places = records.shown(records.tick)
    return dict(sorted(zip(ids.tolist(), np.round(places, 6).tolist(), strict=True)))


async def test_two_televisions_show_the_same_wherever_they_began(server: Server) -> None:
    first, second = television(server, "First"), await asyncio.to_thread(television, server, "Second")
    async with first, second:
        first.watch("pond")
        watching = await heard(first, Watching)
        assert isinstance(watching, Watching)
        assert (watching.title, watching.rate_hz) == ("The pond", 5.0)
        await until(lambda: first.core.entities.live.sum() == 40)
        second.watch("pond")
        await heard(second, ChannelBegan)
        moved = await heard(second, CameraMoved)
        assert isinstance(moved, CameraMoved)
        assert moved.text == "The pond"
        a, b = first.core.entities, second.core.entities
        began = b.frame
        compared = set[int]()

        def same() -> bool:
            if a.frame == b.frame and second.core.television is not None and second.core.television.applied == b.frame:
                assert picture(first.core) == picture(second.core)
                compared.add(a.frame)
            return len(compared) >= 8

        await until(same)
        assert max(compared) > began
        assert len(picture(second.core)) == 40
        guide = json.loads(await asyncio.to_thread(server.get, "/channels.json"))["channels"]
        assert [(entry["name"], entry["viewers"]) for entry in guide] == [("pond", 2), ("duck", 0), ("live", 0)]
        entries = server.metric("isthmus_channel_entries_total", channel="pond")
        sends = server.metric("isthmus_channel_sends_total", channel="pond")
        assert entries < sends, "one entry, and more than one who got it"
        assert server.metric("isthmus_channel_viewers", channel="pond") == 2
        assert server.metric("isthmus_channel_awake", channel="live") == 0
        second.watch("duck")
        await heard(second, Watching)
        followed = await heard(second, CameraMoved)
        assert isinstance(followed, CameraMoved)
        assert followed.entity in picture(first.core)
        television_ = second.core.television
        assert television_ is not None
        await until(lambda: television_.pose(second.core.entities.tick, 20) is not None)
        second.watch("nothing")
        refused = await heard(second, NotWatching)
        assert isinstance(refused, NotWatching)
        assert "pond" in refused.text
        assert first.core.stats.violations == second.core.stats.violations == 0
        assert first.core.stats.losses == second.core.stats.losses == 0
    assert '"channel": "pond"' in server.log or "channel=pond" in server.log


def test_the_guide_may_be_kept_for_a_moment(server: Server) -> None:
    with urlopen(server.url + "/channels.json", timeout=10) as answer:
        assert answer.headers["Cache-Control"] == "public, max-age=2"
        assert answer.headers["Content-Type"].startswith("application/json")


async def test_the_past_is_played(server: Server) -> None:
    live, late = television(server, "Live"), await asyncio.to_thread(television, server, "Late")
    async with live, late:
        live.watch("pond")
        await heard(live, Watching)

        def kept_s() -> int:
            return int(json.loads(server.get("/channels.json"))["channels"][0]["behind_s_max"])

        await until(lambda: kept_s() >= 2)
        late.watch("pond", 2)
        watching = await heard(late, Watching)
        assert isinstance(watching, Watching)
        assert watching.behind_ms >= 2000
        await heard(late, ChannelBegan)
        await until(lambda: late.core.entities.live.any() and late.core.stats.frames > 5)
        behind = live.core.entities.tick - late.core.entities.tick
        assert behind >= 20, "two seconds, less what is on its way"
        assert late.core.stats.violations == 0


async def test_a_channel_over_datagrams_is_the_same_whatever_gets_lost(tmp_path: Path) -> None:
    """One set over WebSocket and one over UDP, a fifth of whose datagrams is lost: at each frame both show the same."""
    with relay(loss=0.2) as network:
        toml = CHANNELS + f'[gateway]\ndatagrams = true\nadvertise_udp = "127.0.0.1:{network.address[1]}"\n'
        with serving(write_world(tmp_path / "udp", toml + "datagrams_port = 0\n", ducks=40)) as server:
            address = re.search(r'"address": "127\.0\.0\.1:(\d+)", "advertised"', server.log)
            assert address is not None, server.log
            network.server = ("127.0.0.1", int(address[1]))
            config = ClientConfig(server.url.replace("http", "ws", 1) + "/ws", "Udp", server.guest("Udp"), profile="tv")
            async with television(server, "Ws") as ws, Client(replace(config, datagrams=True)) as udp:
                ws.watch("pond")
                udp.watch("pond")
                await until(lambda: udp.core.on_datagrams and udp.core.entities.live.sum() == 40)
                a, b, shown = udp.core.entities, ws.core.entities, dict[int, list[dict[int, list[float]]]]()

                def same() -> bool:
                    nonlocal a, b
                    a, b = udp.core.entities, ws.core.entities
                    for core in (udp.core, ws.core):
                        assert core.television is not None
                        if core.television.applied == core.entities.frame:
                            shown.setdefault(core.entities.frame, [{}, {}])[core is ws.core] = picture(core)
                    both = [pair for pair in shown.values() if all(pair)]
                    assert all(one == other for one, other in both)
                    return len(both) >= 15

                await until(same, 4000)
                assert len(set(map(repr, shown.values()))) > 10, "the ducks move"
                assert network.lost >= 10
                stats = udp.core.stats
                assert (stats.violations, stats.fallbacks, stats.losses) == (0, 0, 0)
                assert udp.core.on_datagrams
                udp.watch("nothing")
                refused = await heard(udp, NotWatching)
                assert isinstance(refused, NotWatching)
                udp.watch("")
                await heard(udp, NotWatching)
                assert not udp.core.entities.live.any()
            guide = json.loads(await asyncio.to_thread(server.get, "/channels.json"))["channels"]
            assert guide[0]["viewers"] == 0
