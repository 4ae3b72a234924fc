"""Issue's promise on motion: scraping along walls at 100 ms round trip, nobody is ever corrected by more than 5 cm.

The real shard and gateways, a good network, a client that predicts.
"""

from math import hypot

import numpy as np
import pytest

from tests.sim.cluster import Cluster
from tests.sim.network import Faults


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_scraping_along_walls_at_100_ms_round_trip(seed: int) -> None:
    network = Faults(delay_ms=50.0, jitter_ms=0.0)
    cluster = Cluster(seed, 1, Faults(delay_ms=1.0, jitter_ms=0.0), network)
    core = cluster.folk.all[0].core
    cluster.run(4.0)
    assert core.connected
    rng = np.random.default_rng(seed)
    heading = 0.0
    blocked = 0
    for _ in range(400):
        cluster.run(0.1)
        vx, _, vz = core.velocity
        if hypot(vx, vz) < 2.7:
            blocked += 1
        if rng.random() < 0.05:
            place = core.position
            assert place is not None
            # Towards one of the houses, to meet its walls again and again.
            aim = np.array([(-26.0, -26.0), (-6.0, -8.0), (16.0, 9.0)][int(rng.integers(3))]) + rng.uniform(-4, 4, 2)
            heading = float(np.arctan2(-(aim[0] - place[0]), -(aim[1] - place[2])))
        core.steer_towards(heading)
    assert blocked > 40, "the walk must meet walls"
    assert core.stats.inputs > 300
    assert core.stats.correction_m_max <= 0.05, f"corrected by {core.stats.correction_m_max:.3f} m"
    assert core.stats.pushes == 0
