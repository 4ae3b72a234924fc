"""What a client costs that walks to and fro over a border: not more than twice what it costs beside one."""

from math import pi

import numpy as np

from protocol.carried import Send
from tests.sim.hosts import RATE_HZ, Host
from tests.sim.whole import Whole

WALKS_S = 24
TURN_TICKS = 14
"""Half of a walk to and fro: people are on either side for less than a second."""


class Weighed(Whole):
    """A world without ducks to look at, one person, and scales at all links."""

    def __init__(self, seed: int) -> None:
        self.carried = 0
        super().__init__(seed, gateways=1, people=1)

    def _send(self, source: Host, send: Send) -> None:
        self.carried += len(send.data)
        super()._send(source, send)


def walk(heading: float) -> tuple[int, int, int]:
    """Bytes to the client, bytes over links, and crossings, of a person who walks to and fro from the origin."""
    world = Weighed(1)
    person = world.folk.all[0]
    while not person.core.connected or person.core.position is None:
        world.run(1)
    for core in world.cores:  # ducks cross as well: only the person is looked at
        core.state.end(core.state.table.rows(core.state.registry.kind_number["duck"]))
    body = person.core.welcome.body if person.core.welcome else None
    for core in world.cores:
        row = core.state.table.row(body or 0)
        if row >= 0 and not core.state.table.ghost[row]:
            core.state.table.pos[row] = np.array([-1.0, 0.0, 3.0])
    world.run(2 * RATE_HZ)
    before = person.core.stats.bytes_in, world.carried, world.counts["crossed"]
    for turn in range(WALKS_S * RATE_HZ // TURN_TICKS):
        person.core.steer_towards(heading + pi * (turn % 2), 1.0, 0)
        world.run(TURN_TICKS)
    return (
        person.core.stats.bytes_in - before[0], world.carried - before[1], world.counts["crossed"] - before[2],
    )  # fmt: skip


def test_who_oscillates_on_a_border_costs_at_most_twice_its_steady_bytes() -> None:
    along, along_links, never = walk(pi)
    across, across_links, often = walk(-pi / 2)
    assert never == 0
    assert often >= 4
    assert across <= 2 * along, f"{across} bytes to the client, {along} beside the border"
    assert across_links <= 2 * along_links, f"{across_links} bytes over links, {along_links} beside the border"
