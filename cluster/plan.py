"""Who should own what: pure functions from what is known to what should be.

Measure: a shard's load is the part of a core that it uses; a region's weight its part of that. Neighbouring regions
belong together, because what crosses between two shards costs both; what a shard gives away that ends goes rather to
those that do not end next (``turns``). Invariants: same arguments, same plan; a plan never
names a draining shard as a target; nothing moves unless it gains HYSTERESIS; what makes a region hot and what makes
four idle are far apart, and both have to last. Not responsible for: carrying it out, which gateway serves whom
(``affinity``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.partition import Partition
from cluster.regions import level_of, quarters
from cluster.turns import soon

HYSTERESIS = 0.15
"""Part of a tick that a move must take off the busiest shard: less is within what measurements swing by."""
BUSY = 0.35
"""A shard below this part of a core is nobody's worry: everything stays where it is."""
AFFINITY = 0.05
"""What a neighbour on the same shard is worth, as part of a core."""
SPLIT_FROM = 0.25
"""Part of a core from which a region is split, when its shard is busy: what one move can then take away."""
MERGE_TO = 0.1
"""Part of a core that four quarters use at most together to become one region: far below SPLIT_FROM, so that a merge
never makes a region that is split again."""
HOT_S = 6.0
IDLE_S = 60.0
"""So long a region has to be hot, or a cell idle: several reports of load."""
SOON = 0.2
"""What it costs to give a region to a shard that may end next, as part of a core: it would move twice."""
WEIGHT_LEAST = 0.01
"""Weight of a region that nobody has measured."""


@dataclass(frozen=True, slots=True)
class Host:
    """One shard: its load, its regions with their weights, whether it drains."""

    name: str
    load: float
    regions: Mapping[int, float]
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """``region`` should go from ``source`` to ``target``."""

    region: int
    source: str
    target: str


def assign(
    orphans: Sequence[int], hosts: Sequence[Host], partition: Partition, leaving: str | None = None
) -> dict[int, str]:
    """A host for each orphan: the least loaded, neighbours together. Empty if no host takes any. ``leaving``: the
    shard that gives them away because it ends.

    With equal hosts and nothing owned the regions are cut into runs of the quadtree's order, which keeps squares whole.
    """
    takers = [host for host in hosts if not host.draining]
    if not takers or not orphans:
        return {}
    load = {host.name: host.load + SOON * soon(host.name, leaving) for host in takers}
    held = {host.name: set(host.regions) for host in takers}
    stay = sum(soon(host.name, leaving) < 1.0 for host in takers) or len(takers)
    fair = (len(orphans) + sum(map(len, held.values()))) / stay
    given: dict[int, str] = {}
    for region in sorted(orphans):
        near = partition.neighbours(region)

        def cost(name: str, near: Sequence[int] = near) -> tuple[float, str]:
            crowded = max(0.0, len(held[name]) + 1 - fair) / fair
            together = sum(other in held[name] for other in near)
            return load[name] + crowded - AFFINITY * together, name

        best = min(load, key=cost)
        given[region] = best
        held[best].add(region)
        load[best] += WEIGHT_LEAST
    return given


def split(
    hosts: Sequence[Host], level_max: int, hot_since_s: Mapping[int, float], now_s: float
) -> list[tuple[str, int]]:
    """(owner, region) of those that have been hot for HOT_S, the hottest first. ``hot_since_s``: see :func:`hot`."""
    found = [
        (-weight, host.name, region)
        for host in hosts
        for region, weight in host.regions.items()
        if level_of(region) < level_max and now_s - hot_since_s.get(region, now_s) >= HOT_S
    ]
    return [(name, region) for _, name, region in sorted(found)]


def hot(hosts: Sequence[Host]) -> set[int]:
    """Regions that are worth splitting: a large part of a shard that is busy."""
    return {
        region
        for host in hosts
        if host.load >= BUSY and not host.draining
        for region, weight in host.regions.items()
        if weight >= SPLIT_FROM
    }


def idle(hosts: Sequence[Host], level: int) -> set[int]:
    """Cells whose quarters are all regions, and together so idle that one would do; none above ``level``."""
    weights = {region: weight for host in hosts for region, weight in host.regions.items()}
    cells = {region >> 2 for region in weights if level_of(region) > level}
    return {
        cell
        for cell in cells
        if all(n in weights for n in quarters(cell)) and sum(weights[n] for n in quarters(cell)) <= MERGE_TO
    }


def gather(cell: int, hosts: Sequence[Host]) -> list[Move]:
    """Moves that bring all quarters of a cell to one host: that which has most of them, and the least load."""
    parts = {host.name: [n for n in quarters(cell) if n in host.regions] for host in hosts}
    takers = [host for host in hosts if not host.draining]
    if not takers:
        return []
    best = max(takers, key=lambda host: (len(parts[host.name]), -host.load, host.name)).name
    return [Move(region, name, best) for name, regions in parts.items() if name != best for region in regions]


def drain(hosts: Sequence[Host], partition: Partition) -> list[Move]:
    """Moves that empty the draining hosts."""
    moves = []
    for host in hosts:
        if host.draining:
            targets = assign(sorted(host.regions), hosts, partition, leaving=host.name)
            moves += [Move(region, host.name, target) for region, target in targets.items()]
    return moves


def balance(hosts: Sequence[Host], partition: Partition, movable: frozenset[int]) -> Move | None:
    """The one move that helps the busiest host most, or None. ``movable``: regions that have not moved lately."""
    takers = [host for host in hosts if not host.draining]
    if len(takers) < 2:
        return None
    busiest = max(takers, key=lambda host: (host.load, host.name))
    if busiest.load < BUSY or len(busiest.regions) < 2:
        return None
    best: tuple[float, int, str] | None = None
    for region, weight in sorted(busiest.regions.items()):
        if region not in movable or weight <= 0:
            continue
        near = partition.neighbours(region)
        left_behind = sum(other in busiest.regions for other in near)
        for host in takers:
            if host.name == busiest.name:
                continue
            peak = max(busiest.load - weight, host.load + weight)
            joined = sum(other in host.regions for other in near)
            gain = busiest.load - peak
            score = gain + AFFINITY * (joined - left_behind)
            if gain >= HYSTERESIS and (best is None or score > best[0]):
                best = (score, region, host.name)
    return None if best is None else Move(best[1], busiest.name, best[2])
