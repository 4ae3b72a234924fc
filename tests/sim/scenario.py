"""One run from one seed: people come, everything goes wrong for a while, the faults stop, and then all must be
right."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.sim.checkers import check_components, check_deeds, check_one_body_each, check_own, check_poses, check_visible
from tests.sim.cluster import Cluster
from tests.sim.network import Faults
from tests.sim.people import Person

PEOPLE = 8
BAD_S = 12.0
SETTLE_S = 8.0
"""Longer than a session's grace, a retry's wait and the silence that a client bears."""
CALM_S = 3.0
REST_S = 1.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to. ``hash``: of all bytes that clients received, all events, and the shard's state at the
    end."""

    seed: int
    hash: str
    counts: Counter[str]
    seen: int
    checked: int
    worst_m: float
    corrections: int


def settle(cluster: Cluster, staying: Sequence[Person]) -> int:
    """The faults have stopped: everything is right. Returns how many entities are seen by those who stay."""
    cluster.truth.strict = True
    for _ in range(round(CALM_S * 10)):
        cluster.run(0.1)
        cluster.folk.disturb()
    seen = sum(check_visible(cluster, person) for person in staying)
    for person in staying:
        check_components(cluster, person)
        person.core.steer(0.0, 0.0)
    cluster.run(REST_S)
    for person in staying:
        check_own(cluster, person)
        cluster.counts["hands known"] += check_poses(cluster, person)
        check_deeds(cluster, person, kept=True)
        assert not person.deeds.waiting, f"person {person.number} waits for {len(person.deeds.waiting)} answers"
    check_one_body_each(cluster)
    return seen


def run(seed: int) -> Outcome:
    """Raises AssertionError if anything does not hold."""
    rng = np.random.default_rng([seed, 99])
    link = Faults(
        loss=float(rng.uniform(0.01, 0.05)),
        reorder=0.02,
        duplicate=0.02,
        delay_ms=1.0,
        jitter_ms=float(rng.uniform(1, 6)),
    )
    carrier = Faults(
        loss=float(rng.uniform(0.005, 0.05)),
        reorder=0.03,
        reset=0.006,
        delay_ms=float(rng.uniform(5, 60)),
        jitter_ms=float(rng.uniform(1, 20)),
    )
    cluster = Cluster(seed, PEOPLE, link, carrier)
    for _ in range(round(BAD_S * 10)):
        cluster.run(0.1)
        cluster.folk.disturb()
    leaver = cluster.folk.all[int(rng.integers(PEOPLE))]
    if leaver.core.connected:
        leaver.core.leave()
        cluster.folk.act(leaver)
        cluster.counts["left for good"] += 1
    link.calm()
    carrier.calm()
    cluster.run(SETTLE_S)
    seen = settle(cluster, [person for person in cluster.folk.all if not person.core.done])
    counts = cluster.counts + Counter()
    for gateway in cluster.gateways:
        watches = (connection.numbers for connection in gateway.connections.values())
        counts["number reused"] += sum(watch.reused for watch in watches if watch is not None)
    for person in cluster.folk.all:
        counts.update(person.events)
        counts["resumed"] += person.core.stats.resumes
        counts["deeds answered"] += person.deeds.answered
    corrections = sum(person.core.stats.corrections for person in cluster.folk.all)
    t = cluster.truth
    return Outcome(seed, cluster.digest(), counts, seen, t.checked, t.worst_m, corrections)
