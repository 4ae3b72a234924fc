"""A script with actions of every kind, and acts as a gateway says them: shared by the tests of acting."""

from typing import Any

import numpy as np

from protocol.link import Upward
from shard.behaviours.api import Refused, Script
from shard.behaviours.world import Rows, World


def shop() -> Script:
    """People have coins, and spend them."""
    script = Script("shop")
    coins = script.component("coins", "i4", replicate=True, default=10)
    script.extend("person", [coins])
    script.kind("bell", [script.component("rung", "i4")])

    @script.start
    def begin(world: World) -> None:
        world.spawn("bell", pos=[1.0, 0, 0])

    @script.action("pay")
    def pay(world: World, rows: Rows, payloads: list[Any]) -> Any:
        rows.coins -= payloads[0]
        if rows.coins[0] < 0:
            rows.pos += 1.0
            world.spawn("bell")
            raise Refused(f"only {10 if rows.coins[0] > -100 else 0} coins")
        return rows.coins

    @script.action("ring")
    def ring(world: World, rows: Rows, payloads: list[Any]) -> None:
        bells = world.all("bell")
        bells.rung += 1
        world.tell("ring", entity=int(bells.id[0]))
        if payloads[0] == "broken":
            raise Refused("it has no clapper")

    @script.action("break")
    def break_(world: World, rows: Rows, payloads: list[Any]) -> None:
        rows.coins[:] = 999
        raise RuntimeError("a mistake")

    @script.action("babble")
    def babble(world: World, rows: Rows, payloads: list[Any]) -> Any:
        return payloads[0] if isinstance(payloads[0], list) else [object()]

    @script.action("dice")
    def dice(world: World, rows: Rows, payloads: list[Any]) -> Any:
        return [world.random.integers(0, 1 << 40)]

    @script.action("ring", kind="bell")
    def never(world: World, rows: Rows, payloads: list[Any]) -> Any:
        raise AssertionError("nobody's body is a bell")

    return script


def act(*entries: tuple[int, str, Any], session: int = 7, generation: int = 1, body: int = 0, first: int = 1) -> Upward:
    """These acts (number, name, payload) of one session."""
    made = [[session, generation, number, name, payload, body, first] for number, name, payload in entries]
    return Upward(0, 0, 0, acts=made)


def coins(table: Any, row: int) -> int:
    """Of a body."""
    return int(np.asarray(table.columns["c.coins"])[row])
