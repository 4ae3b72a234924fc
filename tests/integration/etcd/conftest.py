"""A server of each version, shared by the tests that do it no harm."""

from collections.abc import Iterator

import pytest

from tests.integration.etcd.servers import VERSIONS, Member, running


@pytest.fixture(scope="session", params=VERSIONS)
def member(request: pytest.FixtureRequest) -> Iterator[Member]:
    """One member that every test finds running; each test has a namespace of its own."""
    with running(request.param) as (only,):
        yield only


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """For tests that start servers of their own."""
    name: str = request.param
    return name
