"""Hosts that fall silent and cuts between hosts: each region has one writer, and people are back in, whatever was cut.

Each test cuts, sees what must come about while the cut lasts, heals, and sees the cluster whole again. People walk all
the time, across the borders between the shards.
"""

import pytest

from tests.integration.cluster.running import until
from tests.integration.hosts.cluster import GATEWAYS, PEOPLE, SHARDS, STORE, Cluster

WALKED = 200
"""Commands, ten seconds of them: more than a lease and all that follows its end."""
CROSSED = 100
"""Commands after which everybody has come to another region, or would have."""


def test_a_shard_whose_host_falls_silent_loses_its_regions_and_comes_back(cluster: Cluster) -> None:
    before = cluster.stored()
    cluster.network.silence("shard-1")
    cluster.until_taken_over("shard-1", before)
    cluster.until_all_in()
    cluster.network.heal()
    cluster.until_back("shard-1", before)
    cluster.until_whole()


@pytest.mark.parametrize("way", ["both", "to etcd", "from etcd"])
def test_a_shard_cut_from_etcd_alone_may_not_go_on(cluster: Cluster, way: str) -> None:
    """The others reach etcd, so they do not consent; what they hear over links changes nothing in that."""
    before = cluster.stored()
    if way != "from etcd":
        cluster.network.cut("shard-1", STORE)
    if way != "to etcd":
        cluster.network.cut(STORE, "shard-1")
    cluster.until_taken_over("shard-1", before)
    cluster.until_all_in()
    cluster.network.heal()
    cluster.until_back("shard-1", before)
    cluster.spread()  # it owns again what it is given
    cluster.until_whole()


def test_the_world_goes_on_while_nobody_reaches_etcd(cluster: Cluster) -> None:
    before, bodies = cluster.stored(), cluster.bodies()
    cluster.network.silence(STORE)
    cluster.until_walked(WALKED)
    cluster.network.heal()
    cluster.until_whole()
    assert cluster.bodies() == bodies, "everybody kept the body"
    for stored in cluster.history(before.at_s):
        owners = {region: owner for region, (owner, _) in stored.regions.items()}
        assert owners == {region: owner for region, (owner, _) in before.regions.items()}


def test_shards_that_hear_each_other_one_way_only(cluster: Cluster) -> None:
    """Nobody can cross between them, and nothing changes its owner. Who was on his way when the cut came has left the
    one and not arrived at the other: he is given another body, and the one on its way must not stay behind."""
    before = cluster.stored()
    one, other = SHARDS
    cluster.network.cut(one, other)
    until("the link is down", lambda: cluster.has_lost_link(one, other) and cluster.has_lost_link(other, one))
    cluster.until_walked(CROSSED)
    cluster.network.heal()
    cluster.until_whole()
    assert cluster.stored().regions == before.regions


def test_people_of_a_gateway_whose_host_falls_silent_go_on_at_the_other(cluster: Cluster) -> None:
    before, people = cluster.stored(), cluster.people()
    silent = GATEWAYS[0]
    theirs = [name for name, gateway in PEOPLE.items() if gateway == silent]
    cluster.network.silence(silent)
    until("they are away", lambda: all(cluster.people()[n]["losses"] > people[n]["losses"] for n in theirs))
    cluster.until_all_in()
    now = cluster.people()
    for name, person in people.items():
        assert (now[name]["body"], now[name]["session"]) == (person["body"], person["session"]), "still the same"
    cluster.network.heal()
    cluster.until_back(silent, before)
    cluster.until_whole()
