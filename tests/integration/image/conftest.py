"""The image is built once for all tests of this folder."""

from pathlib import Path

import pytest

from tests.integration.image.built import build


@pytest.fixture(scope="session")
def image() -> Path:
    return build()
