"""A server of each version, shared by the tests that do it no harm."""

from collections.abc import Iterator

import pytest

from tests.integration.etcd.servers import VERSIONS, Member, running


@pytest.fixture(scope="session", params=VERSIONS)
def member(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    """One member that every test finds running; each test has a namespace of its own."""
    with running(request.param, tmp_path_factory.mktemp(f"etcd-{request.param}")) as (only,):
        yield only
