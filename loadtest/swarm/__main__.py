"""``python -m loadtest.swarm``: a light swarm against a running server (README.md beside this file).

Exit status: 0 all clients came in, none was lost and the swarm kept its pace; 1 some did not, or it did not; 2 it could
not run: no server, no compiler, bad arguments.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from loadtest.swarm.build import BuildError, program
from loadtest.swarm.figures import Figures, figures_of, table
from loadtest.swarm.hellos import HelloError, guest_tokens, hello, hello_file
from loadtest.swarm.running import Silent, Swarm, SwarmFailed
from protocol.layouts import SUBPROTOCOL

ABOUT = """Holds tens of thousands of connections to a running server from one thread, has each of them walk, and
measures what comes: frames, bytes, gaps, delays, losses. Over UDP every datagram is sealed and
opened, and all is acknowledged as the standard demands."""
UNCHECKED = """It does NOT check whether what the server says is true. Records of entities are passed over, so a
server that tells lies at 20 Hz passes. For the truth run decoding clients beside it: `isthmus bots`,
locust users, the probes of `python -m bench`. It does not follow MOVE, never comes back, acts and talks
never, and speaks no TLS: no wss://, and UDP only to a server on this machine or behind a proxy.

What it checks: each client comes in and stays; no structure message is missing or comes twice; each
datagram is authentic; the swarm itself kept its pace."""
JOIN_PATIENCE_S = 30.0
SPARE_FILES = 200


class UsageError(Exception):
    """Arguments that cannot be; the text says what to do."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m loadtest.swarm", description=ABOUT, epilog=UNCHECKED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--address", required=True, help="of the server: http://host:port, ws://host:port/ws or host:port")
    p.add_argument("--clients", type=int, required=True, metavar="N", help="how many connections")
    p.add_argument("--transport", choices=("websocket", "udp"), default="websocket")
    p.add_argument("--seconds", type=float, default=20.0, help="that are measured, when all are in (default: 20)")
    p.add_argument("--settle", type=float, default=3.0, metavar="S", help="before that (default: 3)")
    p.add_argument(
        "--profile",
        choices=("desktop", "vr", "observer", "tv"),
        default="desktop",
        help="device class; tv watches the world's first channel (default: desktop)",
    )
    p.add_argument(
        "--inputs-per-s",
        type=float,
        default=10.0,
        metavar="R",
        help="of each client (default: 10); under 4 it says ACK besides, four times a second",
    )
    p.add_argument("--joins-per-s", type=float, default=200.0, metavar="R", help="(default: 200)")
    p.add_argument("--token-file", type=Path, metavar="FILE", help="a token a line, one a client; absent: guests")
    p.add_argument(
        "--clients-per-socket",
        type=int,
        default=64,
        metavar="N",
        help="that share a UDP socket (default: 64; the server tells them apart by number)",
    )
    p.add_argument("--json", action="store_true", help="figures as one JSON line on stdout, the table on stderr")
    return p  # fmt: skip


def host_and_port(address: str) -> tuple[str, int]:
    """Where the server is. Raises UsageError."""
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if parts.scheme in ("https", "wss"):
        raise UsageError(f"{address}: the swarm speaks no TLS; name the server's own port, or use the locust users")
    try:
        port = parts.port or 80
    except ValueError as error:
        raise UsageError(f"{address}: {error}") from error
    if parts.scheme not in ("http", "ws") or not parts.hostname:
        raise UsageError(f"{address} is no address of a server: http://host:port, ws://host:port/ws or host:port")
    return parts.hostname, port


def check(given: argparse.Namespace) -> None:
    """Raises UsageError for what cannot be."""
    for name in ("clients", "seconds", "joins_per_s", "clients_per_socket"):
        if getattr(given, name) <= 0:
            raise UsageError(f"--{name.replace('_', '-')} must be greater than 0")
    if given.settle < 0 or not 0 <= given.inputs_per_s <= 50:
        raise UsageError("--settle must not be negative, --inputs-per-s from 0 to 50 (a server closes on more)")
    if given.profile == "tv" and given.transport == "udp":
        raise UsageError("televisions stay on WebSocket (docs/DATAGRAMS.md): leave --transport udp out")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if given.transport == "websocket" and most != resource.RLIM_INFINITY and given.clients + SPARE_FILES > most:
        raise UsageError(f"{given.clients} connections are too many for {most} open files: raise `ulimit -Hn`")


def tokens_of(given: argparse.Namespace, host: str, port: int, names: Sequence[str]) -> list[str]:
    """A token for each client. Raises UsageError, HelloError."""
    if given.token_file is None:
        return guest_tokens(host, port, names)
    try:
        tokens: list[str] = given.token_file.read_text().split()
    except OSError as error:
        raise UsageError(f"--token-file: {error}") from error
    if len(tokens) < len(names):
        raise UsageError(f"{given.token_file} has {len(tokens)} tokens for {len(names)} clients")
    return tokens[: len(names)]


def run(given: argparse.Namespace) -> Figures:
    """One run. Raises UsageError, BuildError, HelloError, SwarmFailed."""
    host, port = host_and_port(given.address)
    check(given)
    built = program()
    names = [f"swarm-{i}" for i in range(given.clients)]
    hellos = [
        hello(name, token, given.profile, "swarm")
        for name, token in zip(names, tokens_of(given, host, port, names), strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "hellos.bin"
        records.write_bytes(hello_file(hellos))
        options = {
            "host": host, "port": port, "clients": given.clients, "transport": given.transport, "path": "/ws",
            "mode": "tv" if given.profile == "tv" else "isthmus", "protocol": SUBPROTOCOL, "hellos": records,
            "joins-per-s": given.joins_per_s, "inputs-per-s": 0 if given.profile == "observer" else given.inputs_per_s,
            "clients-per-socket": given.clients_per_socket,
        }  # fmt: skip
        with Swarm(built, [word for key, value in options.items() for word in (f"--{key}", str(value))]) as swarm:
            patience_s = given.clients / given.joins_per_s + JOIN_PATIENCE_S
            try:
                ready = swarm.wait("ready", patience_s)
            except Silent:
                text = f"{given.clients} clients did not all come in within {patience_s:.0f} s"
                raise SwarmFailed(f"{text}: the server is overloaded, lower --joins-per-s or --clients") from None
            if ready["joined"] == 0:
                raise SwarmFailed(f"nobody came in: {', '.join(ready['reasons']) or 'no reason was given'}")
            time.sleep(given.settle)
            swarm.say("begin")
            time.sleep(given.seconds)
            swarm.say("end")
            ended = swarm.wait("ended", JOIN_PATIENCE_S)
    return figures_of(given.transport, given.profile, given.clients, ready, ended)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; returns the exit status."""
    given = parser().parse_args(arguments)
    console = Console(stderr=given.json)
    try:
        figures = run(given)
    except (UsageError, BuildError, HelloError, SwarmFailed) as error:
        Console(stderr=True).print(f"swarm: {error}", markup=False, highlight=False, soft_wrap=True)
        return 2
    console.print(table(figures))
    if figures.saturated:
        console.print("This program was short of CPU: the figures say as much about it as about the server.")
    if given.json:
        sys.stdout.write(json.dumps(asdict(figures) | {"complete": figures.complete}) + "\n")
    return 0 if figures.complete else 1


if __name__ == "__main__":
    sys.exit(main())
