"""Whether commands that no test runs exist at least: targets of make, commands and flags of isthmus, modules of Python.

A rule of the pages, too: what stands in a code span and begins with such a command is checked in the same way. Words in
capitals, … and <…> are the reader's to fill in; ``kubectl exec POD --`` before a command is passed over. Not
responsible for: whether they do what is said of them.
"""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Final

import click

from isthmus.cli import cli

REPOSITORY: Final = Path(__file__).resolve().parents[2]
_SPAN: Final = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_TARGET: Final = re.compile(r"^([a-z][a-z0-9-]*):", re.MULTILINE)
_VARIABLE: Final = re.compile(r"^([A-Z]+) *[?:]?=", re.MULTILINE)
_PYTHON: Final = frozenset({"python", "python3"})
_ENDS: Final = frozenset({"|", "||", "&&", "&", ";", ">", ">>", "2>&1"})
"""Words of the shell behind which a command has no more flags."""


def spans(text: str) -> Iterator[str]:
    """Code spans of a page that begin as a command which can be checked."""
    prose = re.sub(r"^ *(```+|~~~+).*?^ *\1 *$", "", text, flags=re.MULTILINE | re.DOTALL)
    for span in _SPAN.findall(prose):
        words = _words(span)
        if len(words) > 1 and _is_checkable(words):
            yield span


def problems(script: str, *, ours_only: bool = False) -> Iterator[str]:
    """What does not exist of the commands of ``script``, one for each line; also that a line cannot be checked, unless
    ``ours_only``: then other programs' lines are passed over."""
    for line in script.replace("\\\n", " ").splitlines():
        words = _words(line)
        if words and not _is_checkable(words):
            if not ours_only:
                yield f"{line.strip()}: only make, isthmus, pytest and python -m can be checked"
        elif words:
            yield from (f"{line.strip()}: {problem}" for problem in _missing(words))


def _words(line: str) -> list[str]:
    """Of the first command of a line, without what stands before it: variables, the folder of the virtual environment,
    ``kubectl exec POD --``."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return []
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        del words[0]
    if words[:1] == ["kubectl"] and "exec" in words and "--" in words:
        words = words[words.index("--") + 1 :]
    words = list(takewhile(lambda word: word not in _ENDS, words))
    return [words[0].removeprefix(".venv/bin/"), *words[1:]] if words else []


def _is_checkable(words: list[str]) -> bool:
    return words[0] in ("make", "isthmus", "pytest") or (words[0] in _PYTHON and words[1:2] == ["-m"])


def _missing(words: list[str]) -> Iterator[str]:
    if words[0] == "make":
        yield from _missing_of_make(words[1:])
    elif words[0] == "isthmus":
        yield from _missing_of_isthmus(words[1:])
    elif words[0] == "pytest":
        yield from (f"there is no {word}" for word in words[1:] if "/" in word and not (REPOSITORY / word).exists())
    else:
        yield from _missing_of_module(words[2], words[3:])


def _missing_of_make(words: list[str]) -> Iterator[str]:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets, variables = set(_TARGET.findall(makefile)), set(_VARIABLE.findall(makefile))
    for word in words:
        name, is_variable, _ = word.partition("=")
        if name not in (variables if is_variable else targets) and not word.startswith("-"):
            yield f"the Makefile has no {name}"


def _missing_of_isthmus(words: list[str]) -> Iterator[str]:
    command: click.Command = cli
    rest = list(words)
    while isinstance(command, click.Group) and rest:
        found = command.commands.get(rest[0])
        if found is None:
            if not _is_placeholder(rest[0]) and rest[0] not in ("--help", "-h"):
                yield f"isthmus has no {' '.join(words[: len(words) - len(rest) + 1])}"
            return
        command, rest = found, rest[1:]
    known = {"--help", "-h"}.union(*(parameter.opts for parameter in command.params))
    for word in rest:
        if word.startswith("-") and word.partition("=")[0] not in known:
            yield f"there is no flag {word}"


def _is_placeholder(word: str) -> bool:
    return word.isupper() or word.startswith(("<", "…"))


def _missing_of_module(module: str, words: list[str]) -> Iterator[str]:
    if importlib.util.find_spec(module) is None:
        yield f"there is no module {module}"
        return
    home = REPOSITORY / module.replace(".", "/")
    files = list(home.rglob("*.py")) if home.is_dir() else [home.with_suffix(".py")]
    if not all(file.exists() for file in files):
        return  # somebody else's module
    source = "\n".join(file.read_text(encoding="utf-8") for file in files)
    own = words[: words.index("--")] if "--" in words else words
    for word in own:
        flag = word.partition("=")[0]
        if re.fullmatch(r"--[a-z][a-z-]*", flag) and f'"{flag}"' not in source:
            yield f"python -m {module} has no {flag}"
