"""One cluster on hosts of its own for all tests of this folder; each test finds it whole, and must leave it so."""

from collections.abc import Iterator

import pytest

from tests.integration.hosts import network
from tests.integration.hosts.cluster import HOSTS, Cluster, running


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("hosts")  # with all logs; pytest keeps it for a while
    with network.made(HOSTS) as hosts, running(hosts, folder) as cluster:
        yield cluster


@pytest.fixture
def cluster(started: Cluster) -> Iterator[Cluster]:
    started.spread()
    started.until_whole()
    try:
        yield started
    finally:
        started.network.heal()
    started.check_alive()
