"""From facts about etcd, the durable store and the running cluster to findings.

Pure. Decides how quick is quick enough, and what to do. Not responsible for: this machine (``machine``).
"""

from collections.abc import Iterator

from isthmus.doctor.facts import ClusterFacts, DurableStore, Endpoint, Etcd, Facts, Finding, Level, MemberFacts

ETCD_LEAST = (3, 4)
ETCD_SLOW_S = 0.05
"""A lease is renewed each second, and a move of a region waits for a write."""
COMMIT_SLOW_S = 0.05
"""Each act waits for one commit."""
SKEW_S = 1.5
"""HTTP tells whole seconds; more than this is no rounding."""
SKEW_EXACT_S = 0.05
CONNECTIONS_PART = 0.9
LOAD_LATE = 0.9
"""Part of a core: a shard that uses more makes late ticks."""
OK, NOTE, WARNING, ERROR = Level


def check(facts: Facts) -> Iterator[Finding]:
    """All that concerns other processes."""
    if facts.etcd is not None:
        yield from _etcd(facts.etcd)
    if facts.durable is not None:
        yield from _durable(facts.durable)
    if facts.cluster is not None:
        yield from _cluster(facts.cluster)


def _etcd(etcd: Etcd) -> Iterator[Finding]:
    for endpoint in etcd.endpoints:
        yield from _endpoint(endpoint)
    away = [endpoint for endpoint in etcd.endpoints if endpoint.problem is not None]
    if len(away) == len(etcd.endpoints):
        return
    if etcd.problem is not None:
        yield Finding(
            ERROR,
            "etcd",
            f"a key cannot be read: {etcd.problem}",
            "check cluster.etcd_user, etcd_password_path, certificates, and the user's right to read and write the "
            "namespace",
        )
    elif etcd.read_s > ETCD_SLOW_S:
        yield Finding(
            WARNING,
            "etcd",
            f"a read took {1e3 * etcd.read_s:.0f} ms: leases are lost when it takes longer still",
            "give etcd a quick disk of its own, and put it near",
        )
    else:
        yield Finding(OK, "etcd", f"a key was read in {1e3 * etcd.read_s:.1f} ms, with these options' user")


def _endpoint(endpoint: Endpoint) -> Iterator[Finding]:
    about = f"etcd {endpoint.url}"
    if endpoint.problem is not None:
        yield Finding(
            ERROR,
            about,
            endpoint.problem,
            "see that it runs, and that this machine reaches it (cluster.etcd_endpoints)",
        )
        return
    numbers = tuple(int(part) for part in endpoint.version.split(".")[:2] if part.isdigit())
    if numbers < ETCD_LEAST:
        yield Finding(ERROR, about, f"version {endpoint.version} is too old", "run etcd 3.4 or newer")
    else:
        yield Finding(OK, about, f"version {endpoint.version}, {1e3 * endpoint.latency_s:.1f} ms")
    if endpoint.ahead_s is not None and abs(endpoint.ahead_s) > SKEW_S:
        yield Finding(
            WARNING,
            "clock",
            f"{endpoint.url} is {endpoint.ahead_s:+.0f} s from this machine",
            "run a time service on both (chrony, systemd-timesyncd)",
        )


def _durable(store: DurableStore) -> Iterator[Finding]:
    about = f"durable store {store.shown}"
    if store.problem is not None:
        yield Finding(
            ERROR, about, store.problem, "see that it runs, can be reached, and lets this user write (docs/DURABLE.md)"
        )
        return
    if store.read_only:
        yield Finding(
            ERROR,
            about,
            "it can only be read: a standby, perhaps after a failover",
            "name all hosts in durable.url, with target_session_attrs=primary",
        )
    elif store.schema is None:
        yield Finding(OK, about, f"{store.server}; it holds nothing of this world yet")
    elif store.schema > store.schema_of_program:
        yield Finding(
            ERROR,
            about,
            f"its schema is version {store.schema}, this program knows {store.schema_of_program}",
            "run the newer program, or restore a backup of before",
        )
    elif store.schema < store.schema_of_program:
        yield Finding(
            NOTE,
            about,
            f"{store.server}; its schema ({store.schema}) becomes {store.schema_of_program} at the next start",
        )
    else:
        yield Finding(OK, about, f"{store.server}; schema {store.schema}, {1e3 * store.latency_s:.1f} ms")
    if store.latency_s > COMMIT_SLOW_S:
        yield Finding(
            WARNING,
            about,
            f"an answer took {1e3 * store.latency_s:.0f} ms: each act waits so long and longer",
            "a quicker disk, or a database that is nearer",
        )
    if store.ahead_s is not None and abs(store.ahead_s) > SKEW_EXACT_S:
        yield Finding(
            NOTE,
            "clock",
            f"the database's is {1e3 * store.ahead_s:+.0f} ms from this machine's, the answer's way included",
        )
    if store.connections is not None and store.connections[0] > CONNECTIONS_PART * store.connections[1]:
        used, most = store.connections
        yield Finding(
            WARNING,
            about,
            f"{used} of {most} connections are in use: a shard takes 4",
            "raise max_connections, or end what holds them",
        )


def _cluster(cluster: ClusterFacts) -> Iterator[Finding]:
    if cluster.differs:
        yield Finding(
            ERROR,
            "world",
            f"etcd holds another world: {'; '.join(cluster.differs)}",
            "give all processes of a world the same options, or this one a cluster.namespace of its own",
        )
    if not cluster.members:
        yield Finding(NOTE, "cluster", "nobody runs now")
        return
    kinds = {kind: [m.name for m in cluster.members if m.kind == kind] for kind in ("placer", "shard", "gateway")}
    told = ", ".join(f"{len(names)} {kind}{'s' if len(names) != 1 else ''}" for kind, names in kinds.items())
    yield Finding(
        OK if all(kinds.values()) else WARNING, "cluster", told, "" if all(kinds.values()) else _missing(kinds)
    )
    if not cluster.placer:
        yield Finding(
            ERROR, "placer", "nobody places regions", "start `isthmus placer` (docs/runbooks/IsthmusPlacerMissing.md)"
        )
    if cluster.orphans:
        shown = ", ".join(map(str, cluster.orphans[:8]))
        rest = f" and {len(cluster.orphans) - 8} more" if len(cluster.orphans) > 8 else ""
        yield Finding(
            ERROR,
            "regions",
            f"{len(cluster.orphans)} of {cluster.regions} have no living owner: {shown}{rest}",
            "docs/runbooks/IsthmusRegionWithoutOwner.md",
        )
    else:
        yield Finding(OK, "regions", f"all {cluster.regions} have an owner")
    for claim in cluster.claims:
        yield Finding(
            WARNING,
            "claims",
            f"{claim} is gone, and nobody whom it asked has called it over yet",
            f"wait for them; if they never come back: `isthmus region release WORLD.toml {claim}`",
        )
    for member in cluster.members:
        yield from _member(member)


def _missing(kinds: dict[str, list[str]]) -> str:
    return "start " + ", ".join(f"a {kind}" for kind, names in kinds.items() if not names)


def _member(member: MemberFacts) -> Iterator[Finding]:
    if member.draining:
        yield Finding(NOTE, member.name, "it drains")
    if member.durable_away:
        yield Finding(ERROR, member.name, "it cannot use the durable store", "docs/runbooks/IsthmusDurableAway.md")
    if member.load > LOAD_LATE:
        yield Finding(
            WARNING,
            member.name,
            f"it uses {100 * member.load:.0f} % of a core: its ticks are late",
            "docs/runbooks/IsthmusTicksLate.md",
        )
    if member.kind != "gateway":
        return
    if member.status is None:
        yield Finding(NOTE, member.name, f"{member.url or 'its page'} cannot be asked from here")
        return
    lag, shed = member.status.get("lag_ticks"), member.status.get("shed_level")
    if isinstance(lag, int) and lag > 0:
        yield Finding(WARNING, member.name, f"it is {lag} ticks late", "docs/runbooks/IsthmusTicksLate.md")
    if isinstance(shed, int) and shed > 0:
        yield Finding(WARNING, member.name, f"it sheds load (level {shed})", "docs/runbooks/IsthmusShedding.md")
    warnings = member.status.get("warnings")
    for text in warnings if isinstance(warnings, list) else ():
        yield Finding(WARNING, member.name, str(text), "see its log")
