"""What a cluster leaves beside where it was started, for those who operate it there."""

from pathlib import Path

import pytest

from isthmus.config import Config
from isthmus.config.model import Cluster
from isthmus.fleet.beside import FOLDER, endpoints_here, forget_endpoint, write_endpoint
from isthmus.operate import with_endpoints


def test_the_etcd_of_a_cluster_is_found_where_it_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert endpoints_here() == ()
    FOLDER.mkdir(parents=True)
    write_endpoint(FOLDER, "http://127.0.0.1:2379")
    assert with_endpoints(Config()).cluster.etcd_endpoints == ("http://127.0.0.1:2379",)
    named = Config(cluster=Cluster(etcd_endpoints=("http://etcd:2379",)))
    assert with_endpoints(named).cluster.etcd_endpoints == ("http://etcd:2379",)
    forget_endpoint(FOLDER)
    forget_endpoint(FOLDER)
    assert with_endpoints(Config()).cluster.etcd_endpoints == ()
