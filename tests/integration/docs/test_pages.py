"""What pages tell their readers to type does what they say, in the order in which it stands there. The longest pages
first, so that two workers end together."""

from pathlib import Path

import pytest

from docs.site.commands import BACKGROUND, RUN
from docs.site.pages import all_blocks
from tests.integration.docs.reader import Reader

ALL = all_blocks()
STEPS = {page: sum(block.what in (RUN, BACKGROUND) for block in blocks) for page, blocks in ALL.items()}
"""How many blocks of a page are run."""
RUNNABLE = sorted((page for page in ALL if STEPS[page]), key=lambda page: -STEPS[page])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", RUNNABLE)
def test_what_a_page_says_can_be_typed(page: str, tmp_path: Path) -> None:
    with Reader(tmp_path) as reader:
        for block in ALL[page]:
            reader.follow(block)
