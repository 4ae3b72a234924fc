"""A page that does not do what it says fails: statuses, missing lines, things that end too early or not at all."""

from pathlib import Path

import pytest

from docs.site.commands import BACKGROUND, CTRL_C, RUN, Block
from tests.integration.docs.reader import Failed, Reader


def sh(text: str, what: str = RUN, expected: tuple[str, ...] = ()) -> Block:
    return Block("page.md", 1, "sh", text, what, expected=expected)


def test_one_shell_for_all_blocks(tmp_path: Path) -> None:
    with Reader(tmp_path) as reader:
        reader.follow(sh("mkdir world && cd world\nexport PLACE=here\n"))
        reader.follow(Block("page.md", 5, "toml", "port = 8080\n", file="world/a.toml"))
        reader.follow(Block("page.md", 9, "toml", "more = 1\n", file="world/a.toml", continues=True))
        reader.follow(sh("echo $PLACE; cat a.toml\n", expected=("here", "port = 8080", "more")))
        assert "8080" not in (tmp_path / "isthmus" / "world" / "a.toml").read_text(), "the port is a free one"


def test_something_in_the_background_runs_until_ctrl_c_or_the_end(tmp_path: Path) -> None:
    loop = "echo begun on 8080\ntrap 'echo done > {}; exit 0' {}\nwhile true; do sleep 0.1; done\n"
    with Reader(tmp_path) as reader:
        reader.follow(sh(loop.format("one", "TERM"), BACKGROUND, ("begun on …",)))
        reader.follow(sh(loop.format("two", "INT"), BACKGROUND, ("begun",)))
        reader.follow(Block("page.md", 3, "", "", CTRL_C))
        assert (tmp_path / "isthmus" / "two").exists()
        assert not (tmp_path / "isthmus" / "one").exists()
    assert (tmp_path / "isthmus" / "one").exists()


@pytest.mark.parametrize(
    ("block", "told"),
    [
        (sh("echo before\nfalse\necho behind\n"), "failed: before\n$"),
        (sh("nonsense\n"), "failed: .*nonsense"),
        (sh("exit 3\n"), "failed"),
        (sh("echo two; echo one\n", expected=("one", "two")), "did not say 'two'"),
        (sh("echo begun\n", BACKGROUND, ("ready",)), "ended before it said 'ready'"),
    ],
)
def test_what_fails(tmp_path: Path, block: Block, told: str) -> None:
    with Reader(tmp_path) as reader, pytest.raises(Failed, match=told):
        reader.follow(block)


def test_a_page_cannot_write_into_the_repository(tmp_path: Path) -> None:
    with Reader(tmp_path) as reader, pytest.raises(Failed, match="into the repository"):
        reader.follow(Block("page.md", 1, "python", "", file="examples/hello_behaviour/behaviours.py"))
