"""What is measured: how each server, its probes and its clients are started.

Not responsible for: measuring (``run``), what the numbers are held to (``report``).
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.guests import guest_tokens
from bench.prepare import BENCH, CACHE, Tools
from bench.process import Child, ChildFailed
from bench.served import OurServer, PeerServer, Served
from loadtest.swarm.hellos import hello, hello_file
from protocol.layouts import SUBPROTOCOL

Command = list[str | Path]


@dataclass(frozen=True)
class Contender:
    """One server."""

    name: str
    talk: Callable[[Child, int], Served]
    server: Callable[[Tools, Path, int], Command]
    probe: Callable[[Tools, Path, int, int], Command]
    swarm: Callable[[Path, int, int, int], Command]
    """Options of the swarm for (folder for its files, port, first client, clients)."""


def _peer(name: str, program: str, transport: str, kind: str) -> Contender:
    def server(tools: Tools, motion: Path, port: int) -> Command:
        if program.endswith(".py"):
            return [sys.executable, tools.peers / program, "--trajectory", motion, "--port", str(port)]
        # The only build of uWebSockets.js on npm that loads on an older glibc is one for Node 20.
        node = tools.node20 if transport == "uws" else tools.node24
        assert node is not None
        command: Command = [node, tools.peers / program, "--transport", transport]
        return [*command, "--trajectory", motion, "--port", str(port)]

    def probe(tools: Tools, motion: Path, port: int, probes: int) -> Command:
        assert tools.node24 is not None
        command: Command = [tools.node24, tools.peers / "probe.mjs", "--peer", kind, "--clients", str(probes)]
        return [*command, "--trajectory", motion, "--port", str(port)]

    def swarm(folder: Path, port: int, first: int, clients: int) -> Command:
        return ["--mode", "colyseus" if kind == "colyseus" else "plain"]

    def greeted(folder: Path, port: int, first: int, clients: int) -> Command:
        path, node = folder / "hellos.bin", CACHE / "peers" / "node_modules" / "node24" / "bin" / "node"
        command: Command = [
            node,
            CACHE / "peers" / "nengi_client.mjs",
            "--first",
            str(first),
            "--clients",
            str(clients),
        ]
        done = subprocess.run([*command, "--hellos", path], check=False, capture_output=True, text=True)
        if done.returncode:
            raise ChildFailed(f"nengi's client could not write what the swarm says: {done.stderr}")
        return ["--mode", "nengi", "--path", "/", "--hellos", path]

    if kind == "nengi":
        return Contender(name, lambda child, port: PeerServer(child), server, probe, greeted)
    return Contender(name, lambda child, port: PeerServer(child), server, probe, swarm)


def _ours(name: str, transport: str) -> Contender:
    def server(tools: Tools, motion: Path, port: int) -> Command:
        world = BENCH / "worlds" / "replay.toml"
        serve: Command = [sys.executable, "-m", "isthmus", "serve", world, "--gateway-port", str(port)]
        return [*serve, "--gateway-datagrams", str(transport == "udp").lower(), "--shard-replay-path", motion]

    def probe(tools: Tools, motion: Path, port: int, probes: int) -> Command:
        return [*our_probe(port, probes, transport), "--trajectory", motion]

    def swarm(folder: Path, port: int, first: int, clients: int) -> Command:
        return our_swarm(folder, port, first, clients, transport)

    return Contender(name, OurServer, server, probe, swarm)


def our_probe(port: int, probes: int, transport: str = "websocket") -> Command:
    """The probes of our server, without the truth."""
    command: Command = [sys.executable, "-m", "bench.probe", "--clients", str(probes), "--port", str(port)]
    return [*command, "--transport", transport]


def our_swarm(folder: Path, port: int, first: int, clients: int, transport: str = "websocket") -> Command:
    """Options of the swarm for our server; fetches a token for each client."""
    names = [f"walker-{i}" for i in range(first, first + clients)]
    tokens = guest_tokens(port, names)
    # The swarm counts its records from client 0; the probes say their own.
    hellos = [b""] * first + [hello(*who, "desktop", "bench") for who in zip(names, tokens, strict=True)]
    path = folder / "hellos.bin"
    path.write_bytes(hello_file(hellos))
    options: Command = ["--mode", "isthmus", "--path", "/ws", "--protocol", SUBPROTOCOL, "--hellos", path]
    return [*options, "--transport", transport]


OURS = _ours("isthmus", "websocket")
OURS_UDP = _ours("isthmus-udp", "udp")
"""The same server and clients over datagrams (STANDARD.md §9)."""
PEERS = {
    "colyseus-ws": _peer("colyseus-ws", "colyseus.mjs", "ws", "colyseus"),
    "colyseus-uws": _peer("colyseus-uws", "colyseus.mjs", "uws", "colyseus"),
    "nengi-uws": _peer("nengi-uws", "nengi.mjs", "uws", "nengi"),
    "hand-ws": _peer("hand-ws", "hand.mjs", "ws", "hand"),
    "hand-uws": _peer("hand-uws", "hand.mjs", "uws", "hand"),
    "hand-python": _peer("hand-python", "hand.py", "aiohttp", "hand"),
}
ALL = {OURS.name: OURS, **PEERS}
"""The servers that are compared with each other, all over WebSocket."""
