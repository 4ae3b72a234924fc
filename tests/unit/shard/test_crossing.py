"""Crossings between regions: nobody is lost or doubled, and everything of an entity arrives."""

import numpy as np
import pytest

from tests.unit.shard.seam import FOUR, TWO, Net, Seam

BAD = Net(lost=0.1, repeated=0.1, late=0.3)


def test_a_walker_crosses_and_is_steered_all_the_way() -> None:
    seam = Seam(TWO)
    body = seam.join(7, 4, (-3.0, 0.0))
    places = []

    def go() -> None:
        seam.walk(body, 127)
        if home := seam.home(body.entity):
            places.append((seam.tick, home, float(seam.pos(body.entity)[0])))

    seam.run(60, go)
    assert seam.home(body.entity) == 5
    assert body.moves == 1
    x = np.array([x for _, _, x in places])
    step = 3.0 / 20
    assert (np.diff(x)[8:] <= 2 * step + 1e-9).all()
    assert x[-1] > 4.0
    assert seam.total("entities gone") == seam.total("entities come") == 1
    assert body.seq - body.acknowledged <= 3
    assert seam.faults == []


@pytest.mark.parametrize("seed", range(6))
def test_walkers_cross_to_and_fro_over_a_bad_network(seed: int) -> None:
    seam = Seam(FOUR, seed=seed, net=BAD)
    rng = np.random.default_rng(seed)
    bodies = [seam.join(k + 1, 4 + k % 4, (0.0, 0.0)) for k in range(8)]
    for body in bodies:
        x0, z0, x1, z1 = FOUR[body.region]
        seam.cores[body.region].state.table.pos[body.row] = [
            np.clip(rng.uniform(-5, 5), x0, x1), 0, np.clip(rng.uniform(-5, 5), z0, z1)
        ]  # fmt: skip
    heading = rng.uniform(0, 7, len(bodies))

    def go() -> None:
        for k, body in enumerate(bodies):
            if rng.random() < 0.02:
                heading[k] = rng.uniform(0, 7)
            seam.walk(body, round(127 * np.cos(heading[k])), round(127 * np.sin(heading[k])), 1)

    seam.run(800, go)
    assert seam.total("entities come") > 20
    seam.net = Net()
    seam.run(40, lambda: None)
    assert all(body.seq == body.acknowledged for body in bodies)
    assert seam.faults == []
