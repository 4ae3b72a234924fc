"""Isthmus: virtual worlds that many people and many machines are in at once.

The door: people outside import from here alone, because the packages behind it have plain names (``server``,
``client``) that others may use too. A world's behaviours start with ``from isthmus import Script``, a client program
with ``from isthmus import Client, ClientConfig``. Names are resolved at first use, so that a client program does not
load the simulation, nor a world's behaviours the server.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client import (
        ActAnswered,
        ActLost,
        ActLostError,
        ActRefusedError,
        CameraMoved,
        Changed,
        ChannelBegan,
        ChatHeard,
        Client,
        ClientConfig,
        ClientCore,
        ClientEvent,
        Closed,
        Corrected,
        Entered,
        HeldPose,
        Left,
        Lost,
        Noticed,
        NotWatching,
        OwnHands,
        Part,
        PresenceChanged,
        Sample,
        SchemaChanged,
        Told,
        Watching,
        Welcomed,
        guest_token,
    )
    from isthmus.config import Config, ConfigProblems, load
    from shard.behaviours.api import Body, Component, DeclarationError, Elsewhere, Kind, Refused, Script
    from shard.behaviours.hands import Hands
    from shard.behaviours.teleport import Teleport
    from shard.behaviours.world import Rows, World

__all__ = [
    "ActAnswered",
    "ActLost",
    "ActLostError",
    "ActRefusedError",
    "Body",
    "CameraMoved",
    "Changed",
    "ChannelBegan",
    "ChatHeard",
    "Client",
    "ClientConfig",
    "ClientCore",
    "ClientEvent",
    "Closed",
    "Component",
    "Config",
    "ConfigProblems",
    "Corrected",
    "DeclarationError",
    "Elsewhere",
    "Entered",
    "Hands",
    "HeldPose",
    "Kind",
    "Left",
    "Lost",
    "NotWatching",
    "Noticed",
    "OwnHands",
    "Part",
    "PresenceChanged",
    "Refused",
    "Rows",
    "Sample",
    "SchemaChanged",
    "Script",
    "Teleport",
    "Told",
    "Watching",
    "Welcomed",
    "World",
    "guest_token",
    "load",
]

_BY_HOME = {
    "client": "ActAnswered ActLost ActLostError ActRefusedError CameraMoved Changed ChannelBegan ChatHeard Client "
    "ClientConfig ClientCore ClientEvent Closed Corrected Entered HeldPose Left Lost Noticed NotWatching OwnHands Part "
    "PresenceChanged Sample SchemaChanged Told Watching Welcomed guest_token",
    "isthmus.config": "Config ConfigProblems load",
    "shard.behaviours.api": "Body Component DeclarationError Elsewhere Kind Refused Script",
    "shard.behaviours.hands": "Hands",
    "shard.behaviours.teleport": "Teleport",
    "shard.behaviours.world": "Rows World",
}
_HOMES = {name: home for home, names in _BY_HOME.items() for name in names.split()}
"""Public name to the module that defines it: what the imports above say to a type checker, for run time."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"isthmus has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
