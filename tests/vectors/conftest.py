"""The decoder in C, compiled once for all tests of vectors that one process runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vectors.native import Native, compile_driver


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_driver(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="module")
def native(driver: Path) -> Iterator[Native]:
    with Native(driver) as running:
        yield running
