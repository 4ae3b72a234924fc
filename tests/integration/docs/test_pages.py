"""What pages tell their readers to type does what they say, in the order in which it stands there."""

from pathlib import Path

import pytest

from docs.site.commands import BACKGROUND, RUN, Block
from docs.site.pages import all_blocks
from tests.integration.docs.reader import Reader

PAGES = {
    page: blocks for page, blocks in all_blocks().items() if any(block.what in (RUN, BACKGROUND) for block in blocks)
}


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_says_can_be_typed(page: str, tmp_path: Path) -> None:
    blocks: list[Block] = PAGES[page]
    with Reader(tmp_path) as reader:
        for block in blocks:
            reader.follow(block)
