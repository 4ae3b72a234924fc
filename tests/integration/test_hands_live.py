"""Things in hands at a real server, by people on real sockets: one has it, it is carried, thrown and ridden on, and a
connection that breaks takes nothing out of a hand."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client import ActRefusedError, Client, ClientConfig
from protocol.acting import Act, Answer
from protocol.frames import Records
from protocol.messages import Bye, Welcome, encode_client
from tests.integration.lossy import relay
from tests.integration.server import Server, serving, write_world
from tests.integration.transport.harness import until
from tests.integration.wire import PATIENCE_S, Peer, peer

THINGS = """
import numpy as np

from isthmus import Hands, Script

script = Script("things")
hands = Hands(script)
hands.grabbable("cup")
hands.seat("cart", height_m=0.5)
script.kind("bell", [script.component("rings", "u4", replicate=True)])


@script.start
def lay_out(world):
    x, z = np.meshgrid(np.linspace(-4.0, 4.0, 11), np.linspace(-4.0, 4.0, 11))
    world.spawn("cup", x.size, pos=np.stack([x.ravel(), np.full(x.size, 1.0), z.ravel()], axis=1))
    world.spawn("bell", x.size, pos=np.stack([x.ravel(), np.full(x.size, 1.1), z.ravel()], axis=1))
    world.spawn("cart", 4, pos=[[-1.2, 0.0, -1.2], [1.2, 0.0, -1.2], [-1.2, 0.0, 1.2], [1.2, 0.0, 1.2]])


@hands.pressable("bell")
def ring(world, bells, people):
    bells.rings += 1
    return [int(bells.rings[0])]


@script.every("cart")
def drive(world, carts):
    carts.vel[:, 2] = 0.4
"""


def write(folder: Path, advertised: int) -> Path:
    path = write_world(
        folder,
        f'behaviours = "things.py"\n[gateway]\ndatagrams = true\ndatagrams_port = 0\n'
        f'advertise_udp = "127.0.0.1:{advertised}"\n',
    )
    (folder / "things.py").write_text(THINGS)
    return path


class Hand:
    """Somebody at the raw wire, who acts, loses the connection, and comes back."""

    def __init__(self, wire: Peer, welcome: Welcome) -> None:
        self.wire, self.welcome = wire, welcome
        self.acted = welcome.acted
        components = {name: key for key, name, *_ in (welcome.schema or {}).get("components", [])}
        self.kinds = {name: kind for kind, name in (welcome.schema or {}).get("kinds", [])}
        self.held_key, self.taken_key = components["held_by"], components["taken_by"]

    async def act(self, name: str, payload: Any = None) -> Answer:
        self.acted += 1
        self.wire.say(encode_client(Act(self.acted, name, payload)))
        await self.wire.until(lambda: any(getattr(m, "number", 0) == self.acted for m in self.answers))
        return next(m for m in self.answers if m.number == self.acted)

    @property
    def answers(self) -> list[Answer]:
        return [m for m in self.wire.heard if isinstance(m, Answer)]

    @property
    def place(self) -> Any:
        return np.asarray(self.wire.own["p"]) / 128.0

    def back(self, wire: Peer, welcome: Welcome) -> None:
        """The connection broke, and another one goes on."""
        assert (welcome.session, welcome.body) == (self.welcome.session, self.welcome.body)
        self.wire, self.acted = wire, welcome.acted


def component(records: Records, key: int, entity: int) -> Any:
    """Of an entity that is in sight."""
    [number] = np.flatnonzero(records.live & (records.id == entity)).tolist()
    return records.components[number].get(key)


def nearest(records: Records, kind: int, place: Any) -> int:
    ids, places = records.shown(records.tick)
    kinds = records.kind[np.flatnonzero(records.live)]
    of_kind = np.flatnonzero(kinds == kind)
    away = np.linalg.norm(places[of_kind] - np.asarray(place), axis=1)
    return int(ids[of_kind[np.argmin(away)]])


def where(records: Records, entity: int) -> Any:
    ids, places = records.shown(records.tick)
    return places[ids.tolist().index(entity)]


async def read_on(wire: Peer, condition: Callable[[], object]) -> None:
    """Until it holds, at whatever the client sees."""
    async with asyncio.timeout(PATIENCE_S):
        await wire.until(condition)


async def test_a_hand_keeps_what_it_holds_over_lost_connections(tmp_path: Path) -> None:
    """Ada is on datagrams, of which a fifth is lost and then all; Bob is on WebSocket, and loses that."""
    with relay(loss=0.2) as network, serving(write(tmp_path / "hands", network.address[1])) as server:
        address = re.search(r'"address": "127\.0\.0\.1:(\d+)", "advertised"', server.log)
        assert address is not None, server.log
        network.server = ("127.0.0.1", int(address[1]))
        config = ClientConfig(
            server.url.replace("http", "ws", 1) + "/ws", "Ada", server.guest("Ada"), datagrams=True,
            datagram_silence_ms=1500.0,
        )  # fmt: skip
        async with Client(config) as ada, peer(server.port) as wire:
            bob = Hand(wire, await wire.join(await asyncio.to_thread(server.guest, "Bob")))
            await read_on(bob.wire, lambda: bob.wire.records.live.sum() > 200)
            await until(lambda: ada.core.on_datagrams and ada.core.position and ada.core.entities.live.sum() > 200)
            await _ada(ada, bob, network)
            assert ada.core.stats.violations == 0
            await _bob(bob, server)


async def _ada(ada: Client, bob: Hand, network: Any) -> None:
    core = ada.core
    assert core.welcome is not None
    assert core.position is not None
    body, seen = core.welcome.body, bob.wire.records
    cup = nearest(core.entities, bob.kinds["cup"], np.add(core.position, [0.0, 1.2, -0.4]))
    assert await ada.act("grab", {"thing": cup, "hand": "right"}) == {"thing": cup, "held": True}
    await read_on(bob.wire, lambda: component(seen, bob.held_key, cup) == body)
    refused = await bob.act("grab", {"thing": cup, "hand": "left"})
    assert (refused.code, refused.value) == (1, "somebody has it"), "one wins, and the other is told"
    bell = nearest(core.entities, bob.kinds["bell"], np.add(core.position, [0.0, 1.2, -0.4]))
    assert await ada.act("press", {"thing": bell, "hand": "left"}) == 1

    begun = core.position
    ada.steer(1.0, 0.0)
    await read_on(bob.wire, lambda: where(seen, cup)[0] > begun[0] + 2.0)
    assert np.linalg.norm(where(seen, cup) - where(seen, body or 0)) < 2.0, "it is carried"
    ada.steer(0.0, 0.0)

    network.loss = 1.0
    await until(lambda: core.stats.fallbacks == 1 and core.connected, 4000)
    assert not core.on_datagrams
    assert core.welcome.body == body
    await read_on(bob.wire, lambda: component(seen, bob.held_key, cup) == body)
    thrown = await ada.act("release", {"hand": "right"})
    assert thrown["thing"] == cup
    await read_on(bob.wire, lambda: component(seen, bob.held_key, cup) == 0)
    await read_on(bob.wire, lambda: where(seen, cup)[1] == 0.0)  # it fell
    with pytest.raises(ActRefusedError, match="that hand is empty"):
        await ada.act("release", {"hand": "right"})


async def _bob(bob: Hand, server: Server) -> None:
    cup = nearest(bob.wire.records, bob.kinds["cup"], np.add(bob.place, [0.0, 1.2, -0.4]))
    held = await bob.act("grab", {"thing": cup, "hand": "left"})
    assert held.value == {"thing": cup, "held": True}
    cart = nearest(bob.wire.records, bob.kinds["cart"], bob.place)
    assert (await bob.act("sit", {"thing": cart})).code == 0
    sat = float(bob.place[2])
    await read_on(bob.wire, lambda: bob.place[2] > sat + 0.2)
    bob.wire.drop()
    async with peer(server.port) as again:
        bob.back(again, await again.join(None, resume=bob.welcome.resume))
        records = again.records
        await read_on(again, lambda: {cup, cart} <= set(records.shown(records.tick)[0].tolist()))
        assert component(records, bob.held_key, cup) == bob.welcome.body
        assert component(records, bob.taken_key, cart) == bob.welcome.body
        rode = float(bob.place[2])
        await read_on(again, lambda: bob.place[2] > rode + 0.2)
        assert np.linalg.norm(np.subtract(bob.place - where(records, cart), [0.0, 0.5, 0.0])) < 0.3, "and rides on"
        assert (await bob.act("stand")).code == 0
        assert (await bob.act("release", {"hand": "left"})).value["thing"] == cup
        again.say(encode_client(Bye()))
        await again.end()
