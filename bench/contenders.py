"""What is measured: how each server, its probes and its clients are started.

Not responsible for: measuring (``run``), what the numbers are held to (``report``).
"""

import struct
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.guests import guest_tokens
from bench.prepare import BENCH, Tools
from bench.process import Child
from bench.served import OurServer, PeerServer, Served
from protocol.layouts import PROTOCOL_VERSION, SUBPROTOCOL
from protocol.messages import Hello, encode_client

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

    return Contender(name, lambda child, port: PeerServer(child), server, probe, swarm)


def _serve(tools: Tools, motion: Path, port: int) -> Command:
    world = BENCH / "worlds" / "replay.toml"
    return [sys.executable, "-m", "isthmus", "serve", world, "--gateway-port", str(port), "--shard-replay-path", motion]


def _probe(tools: Tools, motion: Path, port: int, probes: int) -> Command:
    return [
        sys.executable, "-m", "bench.probe", "--clients", str(probes), "--port", str(port), "--trajectory", motion,
    ]  # fmt: skip


def our_swarm(folder: Path, port: int, first: int, clients: int) -> Command:
    """Options of the swarm for our server; fetches a token for each client."""
    names = [f"walker-{i}" for i in range(first, first + clients)]
    # The swarm counts its records from client 0; the probes say their own.
    hellos = [b""] * first + [hello(name, token) for name, token in zip(names, guest_tokens(port, names), strict=True)]
    path = folder / "hellos.bin"
    path.write_bytes(hello_file(hellos))
    return ["--mode", "isthmus", "--path", "/ws", "--protocol", SUBPROTOCOL, "--hellos", path]


def hello(name: str, token: str) -> bytes:
    """A guest's HELLO."""
    return encode_client(Hello(PROTOCOL_VERSION, PROTOCOL_VERSION, token, name, "desktop", agent="bench"))


def hello_file(hellos: Iterable[bytes]) -> bytes:
    """Records of u16 length and bytes, as swarm.c reads them."""
    return b"".join(struct.pack("<H", len(record)) + record for record in hellos)


OURS = Contender("isthmus", OurServer, _serve, _probe, our_swarm)
PEERS = {
    "colyseus-ws": _peer("colyseus-ws", "colyseus.mjs", "ws", "colyseus"),
    "colyseus-uws": _peer("colyseus-uws", "colyseus.mjs", "uws", "colyseus"),
    "hand-ws": _peer("hand-ws", "hand.mjs", "ws", "hand"),
    "hand-uws": _peer("hand-uws", "hand.mjs", "uws", "hand"),
    "hand-python": _peer("hand-python", "hand.py", "aiohttp", "hand"),
}
ALL = {OURS.name: OURS, **PEERS}
