"""`isthmus cluster` as an operator runs it: a real etcd, a placer, shards and gateways; bots at both gateways share one
world, and go on in it when a shard is killed."""

import subprocess
from typing import Any

from tests.integration.cluster.conftest import DUCKS
from tests.integration.cluster.running import Running, bots, until

BOTS = 12
BOTH = {"shard-0", "shard-1"}


def shows(cluster: Running, gateway: int, **counts: int) -> bool:
    """Whether a gateway mirrors so many of each kind."""
    kinds = cluster.status(gateway)["kinds"]
    return all(kinds.get(kind) == count for kind, count in counts.items())


def mirrored(cluster: Running) -> dict[int, dict[str, Any]]:
    """What the first gateway tells of the regions that it mirrors."""
    return {entry["region"]: entry for entry in cluster.status(0)["regions"] if entry["mirrored"]}


def moves(cluster: Running, region: int) -> list[tuple[str, str, int, str]]:
    """What the first gateway tells of a region's moves: from, to, epoch, how."""
    told = [move for move in cluster.status(0)["moves"] if move["region"] == region]
    return [(move["from"], move["to"], move["epoch"], move["how"]) for move in told]


def test_two_gateways_show_one_world_that_survives_a_shard(cluster: Running) -> None:
    crowds = [bots(cluster.urls[k], seed=k + 1, count=BOTS) for k in (0, 1)]
    try:
        # Of those who come first some may be sent to the other gateway for affinity.
        until("everybody is in", lambda: sum(cluster.status(k)["sessions"] for k in (0, 1)) == 2 * BOTS)
        for k in (0, 1):
            # Each gateway mirrors the other's people, and all ducks, whichever shards have them.
            until("one world", lambda k=k: shows(cluster, k, person=2 * BOTS, duck=DUCKS))
        # The shard that was there first may have all regions; from here on both have some near the people.
        for number, region in enumerate(sorted(mirrored(cluster))):
            cluster.command("region", "move", "world.toml", str(region), f"shard-{number % 2}")
        until("owners are told", lambda: {entry["owner"] for entry in mirrored(cluster).values()} == BOTH)
        owners = {region: entry["owner"] for region, entry in mirrored(cluster).items()}
        epochs = {region: entry["epoch"] for region, entry in mirrored(cluster).items()}
        region = next(region for region, owner in owners.items() if owner == "shard-1")
        listed = cluster.command("region", "list", "world.toml")
        assert len(listed.splitlines()) == 5, listed
        moved = cluster.command("region", "move", "world.toml", str(region), "shard-0")
        assert moved.startswith(f"region {region} is at shard-0, epoch {epochs[region] + 1}")
        cluster.command("region", "move", "world.toml", str(region), "shard-1")
        epochs[region] += 2
        latest = [
            ("shard-0", "shard-1", epochs[region], "planned"),
            ("shard-1", "shard-0", epochs[region] - 1, "planned"),
        ]
        until("moves are told, newest first", lambda: moves(cluster, region)[:2] == latest)
        for k in (0, 1):
            until("a move changes nothing", lambda k=k: shows(cluster, k, person=2 * BOTS, duck=DUCKS))
            assert cluster.status(k)["rejected"].get("body_lost", 0) == 0
        subprocess.run(["kill", "-9", str(cluster.pids()["shard-1"])], check=True)

        def taken_over() -> bool:
            now = mirrored(cluster)
            lost = [region for region, owner in owners.items() if owner == "shard-1"]
            return all(region in now and now[region]["mirrored_epoch"] > epochs[region] for region in lost)

        until("another owner", taken_over)
        assert moves(cluster, region)[0][3] != "planned"
        figures = cluster.metrics(0)
        assert figures['isthmus_link_downs_total{reason="closed"}'] >= 1
        assert figures['isthmus_link_received_bytes_total{kind="delta"}'] > 0
        assert figures['isthmus_region_moves_total{how="planned"}'] >= 2
        until("a shard logs the same", lambda: '"event": "figures"' in cluster.log("shard-0"))
        for k in (0, 1):
            until("everybody is back", lambda k=k: shows(cluster, k, person=2 * BOTS))
        until("it is back", lambda: "shard-1" in {member["member"] for member in cluster.status(0)["members"]})
        cluster.command("drain", "world.toml", "shard-1")
        assert "shard-1" not in cluster.command("region", "list", "world.toml")
        for k in (0, 1):
            until("nobody is lost by a drain", lambda k=k: shows(cluster, k, person=2 * BOTS))
    finally:
        for crowd in crowds:
            crowd.terminate()
            crowd.wait(20)
