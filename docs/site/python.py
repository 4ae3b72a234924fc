"""The reference of the Python API: what ``isthmus`` offers to world authors and to client programs, by mkdocstrings.

Invariant: every name that ``isthmus`` exports is on one of the two pages, or is said to be elsewhere.
"""

from types import UnionType
from typing import Final

import isthmus

_GIVEN: Final = frozenset({"Rows", "World"})
"""Nobody makes these: behaviours are given them, so how they are made is not told."""
ELSEWHERE: Final = frozenset({"Config", "ConfigProblems", "load"})
"""Exported for programs that start a server; what they hold is the configuration's reference."""
_FIRST: Final = ("Client", "ClientConfig", "ClientCore", "Rows", "Script", "World")
"""What nobody can do without."""
_BEHAVIOURS = """# Worlds and their behaviours

Made from the docstrings of what `from isthmus import …` gives a world's `behaviours.py`. A first world: [Make a
world](../tutorials/world.md).

"""
_CLIENT = """# The Python client

Made from the docstrings of what `from isthmus import …` gives a client program. Importing it loads neither numba nor
aiohttp. Examples: `examples/python_client`.

"""


def names(*homes: str) -> list[str]:
    """Whole names of what ``isthmus`` exports from modules that begin with one of ``homes``."""
    found = []
    for name in sorted(isthmus.__all__, key=lambda name: (name not in _FIRST, name)):
        thing = getattr(isthmus, name)
        home = "client.events" if isinstance(thing, UnionType) else thing.__module__
        if name not in ELSEWHERE and home.partition(".")[0] in homes:
            found.append(f"{home}.{name}")
    return found


def behaviours_page() -> str:
    """The page for authors."""
    return _page(_BEHAVIOURS, names("shard"))


def client_page() -> str:
    """The page for client programs."""
    return _page(_CLIENT, names("client", "protocol"))


def _page(head: str, whole_names: list[str]) -> str:
    return head + "\n".join(f"::: {name}\n{_options(name.rpartition('.')[2])}" for name in whole_names)


def _options(name: str) -> str:
    signature = "      merge_init_into_class: false\n" if name in _GIVEN else ""
    return f"    options:\n      heading_level: 2\n{signature}"
