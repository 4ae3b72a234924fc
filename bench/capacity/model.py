"""What a world of many shards and clients would ask of each resource, reckoned from unit costs: pure arithmetic.

Theory. Everything grows with one of these: clients (what they say and are shown), entities (what is simulated and
published), regions (batches, channels), members (leases, records), or pairs of members (links; news of one told to each
other one). Costs of pairs grow with the square, so they come first at some size, whatever their unit is.

Invariants: units are in the names; a demand is for the *busiest* single thing (one process, one etcd, one database),
because X
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import ceil


@dataclass(frozen=True, slots=True)
class Costs:
    """Unit costs, as measured. CPU in microseconds of one core."""

    rest_us: float
    """One entity at rest, one tick, in its shard."""
    moving_us: float
    """One entity that moves, one tick, in its shard: physics and publishing."""
    region_us: float
    """One region, one tick, whatever is in it."""
    body_us: float
    """One person's body, one tick, in its shard, beside ``moving_us``: commands and walking."""
    ghost_us: float
    """One ghost, one tick, on both sides of the border together."""
    crossing_us: float
    """One crossing, on both sides together."""
    mirror_us: float
    """One row of a gateway's mirror, one tick."""
    visible_us: float
    """One entity that a view shows, one tick: looked at, culled, encoded."""
    client_us: float
    """One client, one tick, at its gateway, beside what it sees: its inputs, sends, session."""
    visible_bytes: float
    """To a client for one visible entity and tick."""
    row_bytes: float
    """One row of a delta from a shard to a gateway."""
    rows_part: float
    """Of the entities that move: how many have a row in the delta of a tick."""
    ghost_bytes: float
    """One ghost in a border message, one tick."""
    message_us: float
    """One message over a link, both ends together, whatever its size."""
    link_us: float
    """One idle link for one second, one end: its beats."""
    session_bytes: float
    """Memory of one session of another gateway."""
    session_us: float
    """One session that begins or ends at another gateway: to hear of it."""
    member_puts: float
    """Writes to etcd of one member, a second: its record and claim."""
    keepalives: float
    """Of one member, a second: they are no writes, but the leader answers each."""
    etcd_put_us: float
    """CPU of etcd for one write, without telling anybody."""
    etcd_event_us: float
    """CPU of etcd to tell one watcher of one write."""
    event_us: float
    """One change that a member hears of from etcd: to parse it and to look at it."""
    event_region_us: float
    """Beside that, for each region that there is: the book compares all."""
    commits: float
    """Transactions of PostgreSQL for one region, a second."""
    wal_bytes: float
    """Written ahead by PostgreSQL for one moving entity, a second."""
    wal_commit_bytes: float
    """The same for one transaction."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one of each can do; measured, or assumed where the page says so."""

    etcd_puts: float
    """Writes a second, each on the disk."""
    etcd_cores: float
    commits: float
    """Of PostgreSQL a second, many clients at once."""
    wal_bytes: float
    """Bytes a second that the database's disk takes."""
    network_bytes: float
    """Of one host, bytes a second."""
    memory_bytes: float
    """Of one process."""
    descriptors: float
    """Of one process."""
    busy: float = 0.7
    """Part of a core that a process is planned to use: the rest is for spikes."""


@dataclass(frozen=True, slots=True)
class World:
    """What is to be served; assumptions, told on the page."""

    shards: int
    clients: int
    rate_hz: int = 20
    visible: float = 50.0
    """Entities that a client sees."""
    inhabitants: int = 2_000
    """Entities of one shard that are nobody's."""
    moving_part: float = 0.5
    """Of the inhabitants. People's bodies all move."""
    regions: int = 4
    """Of one shard."""
    border_part: float = 0.1
    """Of a region's entities that are within sight of a neighbour, and are its ghosts."""
    crossings_part: float = 0.01
    """Of all that moves, per second: how many cross a border."""
    mirror_part: float = 1.3
    """Regions that a gateway mirrors, over those that its own clients fill: with affinity, those seen over borders."""
    stay_s: float = 1800.0
    """How long a client stays."""


@dataclass(frozen=True, slots=True)
class Need:
    """One resource. ``share``: what is asked of what there is; above 1 it cannot be served."""

    resource: str
    demand: float
    limit: float
    unit: str
    remedy: str

    @property
    def share(self) -> float:
        """Part of the limit."""
        return self.demand / self.limit


@dataclass(frozen=True, slots=True)
class Estimate:
    """All of one world. ``cores``, ``totals``: over all processes."""

    world: World
    gateways: int
    members: int
    needs: tuple[Need, ...]
    shard_cores: float
    gateway_cores: float
    client_bytes_per_s: float
    delta_bytes_per_s: float
    links: int
    etcd_puts_per_s: float
    etcd_events_per_s: float
    commits_per_s: float

    @property
    def bottleneck(self) -> Need:
        """What fails first."""
        return max(self.needs, key=lambda need: need.share)

    @property
    def holds(self) -> bool:
        """Whether nothing is asked for more than it can do."""
        return self.bottleneck.share <= 1.0


US = 1e-6


def gateways_for(world: World, costs: Costs, limits: Limits) -> int:
    """So many that each uses ``limits.busy`` of a core for its clients: gateways are stateless, one adds what is
    needed."""
    per_client = world.rate_hz * (costs.client_us + world.visible * costs.visible_us) * US
    rows = world.mirror_part * _entities(world) / max(1, world.clients)  # mirrored rows per client
    per_client += world.rate_hz * rows * costs.mirror_us * US
    return max(1, ceil(world.clients * per_client / limits.busy))


def _entities(world: World) -> float:
    return float(world.shards * world.inhabitants + world.clients)


def estimate(world: World, costs: Costs, limits: Limits) -> Estimate:
    """Everything. Raises ValueError for a world without shards or clients."""
    if world.shards < 1 or world.clients < 1:
        raise ValueError(f"a world needs shards and clients, got {world.shards} and {world.clients}")
    gateways = gateways_for(world, costs, limits)
    members = world.shards + gateways + 1
    regions = world.shards * world.regions
    bodies = world.clients / world.shards
    moving = world.inhabitants * world.moving_part + bodies
    resting = world.inhabitants * (1.0 - world.moving_part)
    entities = world.inhabitants + bodies
    # How many gateways mirror one region: each gateway's share of the world, and what it sees beyond.
    watchers = min(float(gateways), max(1.0, gateways * world.mirror_part / regions, world.mirror_part))
    rows_per_s = world.rate_hz * moving * costs.rows_part
    delta_bytes = rows_per_s * costs.row_bytes * watchers
    ghosts = world.border_part * entities
    crossings = world.crossings_part * moving
    neighbours = min(world.shards - 1, 8)
    deltas = world.rate_hz * world.regions * watchers
    news = members * costs.member_puts
    event_us = costs.event_us + regions * costs.event_region_us

    beats = (members - 1) * costs.link_us
    shard_us = (
        world.rate_hz * (resting * costs.rest_us + moving * costs.moving_us + world.regions * costs.region_us)
        + world.rate_hz * (bodies * costs.body_us + ghosts * costs.ghost_us)
        + crossings * costs.crossing_us
        + (deltas + world.rate_hz * neighbours) * costs.message_us
    )
    changes = 2.0 * world.clients / world.stay_s
    gateway_clients = world.clients / gateways
    mirrored = world.mirror_part * _entities(world) / gateways
    gateway_us = world.rate_hz * (
        gateway_clients * (costs.client_us + world.visible * costs.visible_us) + mirrored * costs.mirror_us
    )
    fellows_us = changes * costs.session_us + (gateways - 1) * costs.message_us  # a roll a second at least
    client_bytes = world.clients * world.rate_hz * world.visible * costs.visible_bytes
    etcd_us = news * costs.etcd_put_us + news * members * costs.etcd_event_us
    commits = regions * costs.commits
    wal = commits * costs.wal_commit_bytes + world.shards * moving * costs.wal_bytes
    busy = limits.busy
    needs = (
        Need("a shard's core: simulation", shard_us * US, busy, "cores", "more shards: split regions"),
        Need(
            "a gateway's core: hearing of everybody else's sessions", fellows_us * US, busy, "cores",
            "tell counts instead of names beyond some size; keep names where people can meet",
        ),
        Need(
            "a member's core: beats of its links", beats * US, busy, "cores",
            "links only between members that have something to say (neighbours; a gateway and what it mirrors)",
        ),
        Need(
            "a member's core: news from etcd", news * event_us * US, busy, "cores",
            "load told over links, not by records; watch only what one needs; compare only what changed",
        ),
        Need("a member's descriptors: links", float(members), limits.descriptors, "descriptors",
             "links only between members that have something to say"),
        Need("etcd: writes", news, limits.etcd_puts, "writes/s", "load told over links, not by records"),
        Need(
            "etcd: telling everybody of every write", etcd_us * US, limits.etcd_cores * busy, "cores",
            "load told over links, not by records; watches of what one needs; gRPC instead of etcd's JSON gateway",
        ),
        Need("PostgreSQL: transactions", commits, limits.commits, "transactions/s",
             "one transaction for all regions of a shard; a database for each part of the world"),
        Need("PostgreSQL: bytes written ahead", wal, limits.wal_bytes, "bytes/s",
             "poses less often where nobody looks; a database for each part of the world"),
        Need("a shard's network", delta_bytes, limits.network_bytes, "bytes/s", "more shards; relays of deltas"),
        Need("a gateway's network", client_bytes / gateways, limits.network_bytes, "bytes/s", "more gateways"),
        Need("a gateway's memory: sessions of others", world.clients * costs.session_bytes, limits.memory_bytes,
             "bytes", "tell counts instead of names beyond some size"),
    )  # fmt: skip
    return Estimate(
        world,
        gateways,
        members,
        needs,
        world.shards * shard_us * US,
        gateways * gateway_us * US,
        client_bytes,
        world.shards * delta_bytes,
        members * (members - 1) // 2,
        news,
        news * members,
        commits,
    )


def without(estimated: Estimate, names: Sequence[str]) -> Need:
    """What fails first when these are no bottleneck any more."""
    return max((need for need in estimated.needs if need.resource not in names), key=lambda need: need.share)


def check(costs: Costs) -> None:
    """Raises ValueError if a cost is negative: then the measurement was disturbed, and nothing can be reckoned."""
    wrong = [f"{each.name} = {getattr(costs, each.name):g}" for each in fields(costs) if getattr(costs, each.name) < 0]
    if wrong:
        raise ValueError(f"costs below zero, repeat on a quiet machine: {', '.join(wrong)}")
