"""Fenced blocks of the pages: which commands their readers type, and what becomes of each in the tests.

A block of commands (```sh) has a comment above it, which no reader sees:

    <!-- run -->                  a test runs it, in the page's own folder; it must succeed
    <!-- background -->           a test starts it, waits for the expected lines, and ends it behind the page
    <!-- long: why -->            takes too long for a test: that its commands, targets and flags exist is checked
    <!-- not run: why -->         cannot be run by a test: counted and listed; commands of ours in it are checked

``<!-- Ctrl-C -->`` stands by itself where the text has the reader end what was started last in the background.

A ```text block right behind a block that is run says what its output must have: each line, in this order; ``…`` stands
for anything. A block with ``title="path"`` is a file that the reader writes; ``title="path, continued"`` goes on with
it.

Invariants: a block without a language, and commands without a comment, are mistakes; so is a comment without a block.
Not responsible for: running (tests/integration/docs).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

COMMANDS: Final = frozenset({"sh", "bash", "shell", "console", "zsh"})
RUN, BACKGROUND, LONG, NOT_RUN, CTRL_C = "run", "background", "long", "not run", "Ctrl-C"
_NEEDS_REASON: Final = {RUN: False, BACKGROUND: False, LONG: True, NOT_RUN: True}
_FENCE: Final = re.compile(r"^(?P<indent> *)(?P<mark>```+|~~~+) *(?P<language>[\w+-]*) *(?P<info>.*)$")
_TITLE: Final = re.compile(r'title="(?P<path>[^"]+?)(?P<more>, continued)?"')
_COMMENT: Final = re.compile(r"^<!-- *(?P<what>run|background|long|not run)\b:? *(?P<why>.*?) *-->$")


class PageError(Exception):
    """A page that breaks the rules above; the text begins with its place."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. ``what``: the comment's word, "" for none. ``file``: path that the reader writes it to, "" for
    none."""

    page: str
    line: int
    language: str
    text: str
    what: str = ""
    why: str = ""
    file: str = ""
    continues: bool = False
    expected: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """For people: ``docs/X.md:12``."""
        return f"{self.page}:{self.line}"


def read(path: Path, name: str) -> list[Block]:
    """All blocks of a page, in order; ``name``: what it is called to people. Raises PageError."""
    return list(_blocks(path.read_text(encoding="utf-8").splitlines(), name))


def _blocks(lines: list[str], name: str) -> Iterator[Block]:
    at, what, why, commented = 0, "", "", 0
    before: Block | None = None
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.strip() == f"<!-- {CTRL_C} -->":
            if before is not None:
                yield before
                before = None
            yield Block(name, at, "", "", CTRL_C)
            continue
        if mark := _COMMENT.match(line.strip()):
            if what:
                raise PageError(f"{name}:{commented}: a comment that no block follows")
            what, why, commented = mark["what"], mark["why"], at
            if bool(why) is not _NEEDS_REASON[what]:
                raise PageError(f"{name}:{at}: `{what}` {'needs a reason' if not why else 'takes none'}")
            continue
        fence = _FENCE.match(line)
        if fence is None:
            if line.strip():
                if what:
                    raise PageError(f"{name}:{commented}: a comment that no block follows")
                if before is not None:
                    yield before
                    before = None
            continue
        begin, text = at, []
        while at < len(lines) and lines[at].strip() != fence["mark"]:
            text.append(lines[at].removeprefix(fence["indent"]))
            at += 1
        if at == len(lines):
            raise PageError(f"{name}:{begin}: a block without an end")
        at += 1
        block = _block(name, begin, fence, "\n".join(text) + "\n", what, why)
        what = why = ""
        if before is not None and block.language == "text" and before.what in (RUN, BACKGROUND):
            wanted = tuple(each for each in text if each.strip())
            yield Block(
                before.page, before.line, before.language, before.text, before.what, before.why, expected=wanted
            )
            before = None
            continue
        if before is not None:
            yield before
        before = block
    if what:
        raise PageError(f"{name}:{commented}: a comment that no block follows")
    if before is not None:
        yield before


def _block(name: str, line: int, fence: re.Match[str], text: str, what: str, why: str) -> Block:
    language = fence["language"]
    if not language:
        raise PageError(f"{name}:{line}: a block without a language; `text` is for what is none")
    if language in COMMANDS - {"sh"}:
        raise PageError(f"{name}:{line}: commands are ```sh, without prompts; their output is ```text behind it")
    if language == "sh" and not what:
        raise PageError(f"{name}:{line}: commands without a comment: run, background, long: why, or not run: why")
    if what and language != "sh":
        raise PageError(f"{name}:{line}: `{what}` stands above commands (```sh)")
    title = _TITLE.search(fence["info"])
    path, more = (title["path"], bool(title["more"])) if title else ("", False)
    return Block(name, line, language, text, what, why, path, more)
