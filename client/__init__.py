"""The Python client: a core without I/O, and an asyncio shell. Light: importing it loads neither numba nor aiohttp.

    from client import Client, ClientConfig, Entered

    async with Client(ClientConfig(url="ws://127.0.0.1:8080/ws", name="Ada")) as me:
        me.core.steer_towards(heading=0.0)
        async for event in me.events():
            ...

Decides nothing: ``core`` does. Not responsible for: what a program wants to do in a world.
"""

from client.acting import TooManyActsError
from client.config import ClientConfig, ClientStats
from client.core import ClientCore
from client.events import (
    ActAnswered,
    ActLost,
    CameraMoved,
    Changed,
    ChannelBegan,
    ChatHeard,
    ClientEvent,
    Closed,
    Connect,
    Corrected,
    Disconnect,
    Entered,
    Left,
    Lost,
    Noticed,
    NotWatching,
    PresenceChanged,
    SchemaChanged,
    Send,
    ShellAction,
    Told,
    Watching,
    Welcomed,
)
from client.hands import OwnHands
from client.shell.acting import ActLostError, ActRefusedError
from client.shell.connection import Client, guest_token
from client.walk import Ground, Walker, walk_step
from protocol.poses import HeldPose, Part, Sample

__all__ = [
    "ActAnswered",
    "ActLost",
    "ActLostError",
    "ActRefusedError",
    "CameraMoved",
    "Changed",
    "ChannelBegan",
    "ChatHeard",
    "Client",
    "ClientConfig",
    "ClientCore",
    "ClientEvent",
    "ClientStats",
    "Closed",
    "Connect",
    "Corrected",
    "Disconnect",
    "Entered",
    "Ground",
    "HeldPose",
    "Left",
    "Lost",
    "NotWatching",
    "Noticed",
    "OwnHands",
    "Part",
    "PresenceChanged",
    "Sample",
    "SchemaChanged",
    "Send",
    "ShellAction",
    "Told",
    "TooManyActsError",
    "Walker",
    "Watching",
    "Welcomed",
    "guest_token",
    "walk_step",
]
