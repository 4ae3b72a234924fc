"""Isthmus: virtual worlds that many people and many machines are in at once.

The door: people outside import from here alone, because the packages behind it have plain names (``server``,
``client``) that others may use too. Names are resolved at first use, so that a client program does not load the
simulation, nor a world's behaviours the server.
"""

from importlib import import_module
from typing import Any

_HOMES: dict[str, str] = {
    "Config": "isthmus.config",
    "ConfigProblems": "isthmus.config",
    "load": "isthmus.config",
}
"""Public name to the module that defines it."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"isthmus has no {name!r}; it has {', '.join(sorted(_HOMES))}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
