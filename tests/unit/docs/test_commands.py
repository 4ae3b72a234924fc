"""How pages are read: blocks, comments, expected lines, and what is a mistake. And that all pages keep the rules."""

from collections import Counter
from pathlib import Path

import pytest

from docs.site.commands import BACKGROUND, CTRL_C, LONG, NOT_RUN, RUN, Block, PageError, read
from docs.site.existing import REPOSITORY, problems, spans
from docs.site.pages import all_blocks, all_pages


def blocks(tmp_path: Path, text: str) -> list[Block]:
    path = tmp_path / "page.md"
    path.write_text(text)
    return read(path, "page.md")


def test_blocks_with_comments_output_files_and_ctrl_c(tmp_path: Path) -> None:
    found = blocks(
        tmp_path,
        "# Title\n\n<!-- background -->\n```sh\nserve\n```\n\n```text\nServing …\n\nat last\n```\n\n"
        '```python title="my/file.py, continued"\nx = 1\n```\n\n<!-- Ctrl-C -->\n\n'
        "<!-- run -->\n```sh\nls\n```\nand\n\n"
        "```text\nno output of that\n```\n\n  <!-- not run: elsewhere -->\n  ```sh\n  kubectl\n  ```\n",
    )
    assert [(b.line, b.language, b.what) for b in found] == [
        (4, "sh", BACKGROUND), (14, "python", ""), (18, "", CTRL_C), (21, "sh", RUN), (26, "text", ""),
        (31, "sh", NOT_RUN),
    ]  # fmt: skip
    assert found[0].expected == ("Serving …", "at last")
    assert (found[1].file, found[1].continues, found[1].text) == ("my/file.py", True, "x = 1\n")
    assert found[3].expected == ()
    assert (found[5].text, found[5].why) == ("kubectl\n", "elsewhere")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```\nls\n```\n", "page.md:1: a block without a language"),
        ("```sh\nls\n```\n", "page.md:1: commands without a comment"),
        ("```console\n$ ls\n```\n", "without prompts"),
        ("<!-- run -->\n\nwords\n\n```sh\nls\n```\n", "page.md:1: a comment that no block follows"),
        ("<!-- long -->\n```sh\nls\n```\n", "needs a reason"),
        ("<!-- run: why -->\n```sh\nls\n```\n", "takes none"),
        ("<!-- run -->\n```python\nls\n```\n", "stands above commands"),
        ("<!-- run -->\n", "page.md:1: a comment that no block follows"),
        ("<!-- run -->\n<!-- run -->\n```sh\nls\n```\n", "page.md:1: a comment that no block follows"),
        ("```sh\nls\n", "page.md:1: a block without an end"),
    ],
)
def test_mistakes_have_a_place(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(PageError, match=problem):
        blocks(tmp_path, text)


@pytest.mark.parametrize(
    "line",
    [
        "make soak MINUTES=2",
        "isthmus serve WORLD.toml --gateway-port 9000  # a comment",
        "ISTHMUS_GATEWAY_PORT=9000 .venv/bin/isthmus region move WORLD.toml 16 shard-1",
        "python -m loadtest stadium --host https://a.example -- --tokens x",
        ".venv/bin/pytest tests/unit -n 2",
        "python -m json.tool",
        "kubectl -n isthmus exec isthmus-placer-0 -- isthmus region list /world/world.toml",
        "isthmus region list WORLD.toml | grep -E shard",
    ],
)
def test_what_exists(line: str) -> None:
    assert list(problems(line)) == []


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("make nonsense", "no nonsense"),
        ("make soak HOURS=2", "no HOURS"),
        ("isthmus nonsense", "no nonsense"),
        ("isthmus region nonsense", "no region nonsense"),
        ("isthmus serve w.toml --gateway-prot 1", "no flag --gateway-prot"),
        ("python -m nonsense", "no module"),
        ("python -m loadtest --nonsense", "no --nonsense"),
        ("pytest tests/nonsense", "no tests/nonsense"),
        ("kubectl get pods", "can be checked"),
        ("kubectl exec POD -- isthmus record nonsense", "no record nonsense"),
    ],
)
def test_what_does_not_exist(line: str, missing: str) -> None:
    (problem,) = problems(line)
    assert missing in problem


def test_of_what_is_not_run_only_our_commands_are_looked_at() -> None:
    script = "kubectl get pods\nisthmus doctor WORLD.toml\nisthmus doctor --jsno\n"
    assert list(problems(script, ours_only=True)) == ["isthmus doctor --jsno: there is no flag --jsno"]


def test_commands_in_code_spans_are_found_outside_of_blocks() -> None:
    text = "Type `isthmus top` or `make`; not `top`.\n```sh\n`isthmus nonsense`\n```\n`python -m bench --cases x`\n"
    assert list(spans(text)) == ["isthmus top", "python -m bench --cases x"]


def test_every_page_keeps_the_rules_and_what_is_not_run_exists() -> None:
    """Prints what no test runs, with the reasons (pytest -s)."""
    counts, wrong = Counter[str](), []
    for page, found in all_blocks().items():
        for block in found:
            counts[block.what] += 1
            if block.what in (LONG, NOT_RUN):
                print(f"{block.place}: {block.what}: {block.why}")  # noqa: T201
            if block.what in (LONG, NOT_RUN):
                found_wrong = problems(block.text, ours_only=block.what == NOT_RUN)
                wrong += [f"{block.place}: {problem}" for problem in found_wrong]
        for span in spans((REPOSITORY / page).read_text(encoding="utf-8")):
            wrong += [f"{page}: {problem}" for problem in problems(span)]
    assert not wrong, "\n".join(wrong)
    assert counts[RUN] >= 20
    assert counts[BACKGROUND] >= 8
    print({what: counts[what] for what in (RUN, BACKGROUND, LONG, NOT_RUN)})  # noqa: T201


def test_the_client_of_the_tutorial_is_the_one_among_the_examples() -> None:
    written: dict[str, str] = {}
    for block in all_blocks()["docs/tutorials/client.md"]:
        if block.file:
            written[block.file] = written.get(block.file, "") * block.continues + block.text
    assert set(written) == {"my-client/client.mjs", "my-client/check.mjs"}
    for path, text in written.items():
        assert (REPOSITORY / "examples" / "javascript_client" / Path(path).name).read_text() == text


def test_all_folders_with_pages_are_looked_at() -> None:
    pages = set(all_pages())
    assert {"README.md", "docs/CLUSTER.md", "docs/tutorials/client.md", "protocol/c/README.md"} <= pages
