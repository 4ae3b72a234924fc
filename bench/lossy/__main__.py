"""``python -m bench.lossy``: freezes, staleness and bytes of WebSocket and of datagrams, through the same bad wires.

One real server and its people on two hosts (network namespaces) with a wire between them that loses, delays, reorders,
repeats and narrows. *Staleness* at a moment: how much older the newest applied frame's tick is than it would be on a
wire without faults (the least delay seen in any run), sampled each 5 ms. *Freeze*: time in which nothing was applied
for more than 150 ms, three ticks, beyond those. Bytes: of IP packets from the server, lost ones included.

Exit status: 0 when the target is met, else 1. Needs root.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trustme
from rich.console import Console
from rich.table import Table

from bench.lossy.wire import ADDRESSES, Fault, Wire, inside, made
from bench.prepare import BENCH
from bench.report import Target, record, show_targets
from tests.integration.issuer import AUTH, Issuer

FAULTS = (
    Fault("none"),
    Fault("2 % loss", loss=0.02, delay_s=0.02),
    Fault("5 % loss", loss=0.05, delay_s=0.02),
    Fault("20 % loss", loss=0.20, delay_s=0.02),
    Fault("100 ms", delay_s=0.1),
    Fault("4 % reordered", delay_s=0.02, reorder=0.04),
    Fault("5 % repeated", delay_s=0.02, repeat=0.05),
    Fault("64 kB/s", delay_s=0.02, bytes_per_s=64_000),
    Fault("all of it", loss=0.05, delay_s=0.1, reorder=0.04, repeat=0.01, bytes_per_s=64_000),
)
JUDGED = "5 % loss"
PEOPLE = 6
SECONDS, JUDGED_SECONDS = 12.0, 40.0
"""Who is judged is looked at longer: what TCP makes of a lost packet varies."""
RATE_HZ = 20
FROZEN_S = 0.15
STEP_S = 0.005
PORT = 8443
NAME = "world.example"
WORLD = """
[world]
name = "lossy"
extent_m = 64
behaviours = "{behaviours}"
[gateway]
mode = "production"
host = "{address}"
port = {port}
public_url = "https://{address}:{port}/"
allowed_hosts = ["{address}"]
tls_cert_path = "cert.pem"
tls_key_path = "key.pem"
datagrams = true
datagrams_port = {port}
"""


@dataclass
class Seen:
    """One way through one wire."""

    fault: str
    way: str
    frozen_s_per_min: float
    stale_p50_ms: float
    stale_p99_ms: float
    kbytes_per_s: float
    losses: int


def world(folder: Path, issuer: Issuer) -> Path:
    """Files of a server that speaks TLS and believes ``issuer``."""
    authority = trustme.CA()
    certificate = authority.issue_cert(ADDRESSES["server"], NAME)
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(folder / "cert.pem"), append=True)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    (folder / "keys.json").write_text(issuer.key_set())
    path = folder / "world.toml"
    behaviours = BENCH / "worlds" / "lossy.py"
    text = WORLD.format(behaviours=behaviours, address=ADDRESSES["server"], port=PORT) + AUTH
    path.write_text(text)
    return path


async def measure(wire: Wire, fault: Fault, way: str, tokens: list[str], folder: Path) -> tuple[list[Any], int]:
    """What people saw, and bytes from the server in a second for each."""
    wire.fault = fault
    seconds = JUDGED_SECONDS if fault.name == JUDGED else SECONDS
    before = Counter(wire.bytes)
    url = f"wss://{ADDRESSES['server']}:{PORT}/ws"
    command = inside("client", sys.executable, "-m", "bench.lossy.people", url, way, str(seconds), *tokens)
    environment = {**os.environ, "SSL_CERT_FILE": str(folder / "ca.pem")}
    program = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env=environment, cwd=BENCH.parent
    )
    out, _ = await asyncio.wait_for(program.communicate(), seconds + 90.0)
    protocol = b"\x11" if way == "udp" else b"\x06"
    grown = wire.bytes - before
    sent = sum(n for (host, flow), n in grown.items() if host == "server" and flow[:1] == protocol)
    return json.loads(out), sent


def figures(fault: Fault, way: str, people: list[Any], sent: int, offset_s: float) -> Seen:
    """Of all people together."""
    frozen_s, stale = 0.0, []
    for one in people:
        at = np.array([s for s, _ in one["applied"]])
        tick = np.array([tick for _, tick in one["applied"]])
        gaps = np.diff(np.concatenate([[one["begun_s"]], at, [one["ended_s"]]]))
        frozen_s += float(np.clip(gaps - FROZEN_S, 0.0, None).sum())
        moments = np.arange(at[0], one["ended_s"], STEP_S)
        newest = np.maximum.accumulate(tick)[np.searchsorted(at, moments, "right") - 1]
        stale.append(moments - (newest / RATE_HZ + offset_s))
    every = 1000 * np.concatenate(stale)
    minutes = sum(one["ended_s"] - one["begun_s"] for one in people) / 60
    # The wire counts from before people are there; what they needed to come in is spread over the whole.
    seconds = sum(one["ended_s"] - one["begun_s"] for one in people)
    return Seen(
        fault.name,
        way,
        round(frozen_s / minutes, 2),
        round(float(np.percentile(every, 50)), 1),
        round(float(np.percentile(every, 99)), 1),
        round(sent / seconds / 1000, 2),
        sum(one["losses"] for one in people),
    )


async def run(console: Console) -> list[Seen]:
    """All faults, both ways."""
    issuer = Issuer()
    found: list[tuple[Fault, str, list[Any], int]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="isthmus-lossy-")))
        wire = stack.enter_context(made(seed=1))
        wire.start(asyncio.get_running_loop())
        log = stack.enter_context((folder / "server.log").open("wb"))
        command = inside("server", sys.executable, "-m", "isthmus", "serve", str(world(folder, issuer)))
        environment = {**os.environ, "ISTHMUS_DURABLE_URL": "memory:"}
        server = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=log, env=environment, cwd=BENCH.parent
        )
        try:
            assert server.stdout is not None
            line = await asyncio.wait_for(server.stdout.readline(), 120.0)
            if not line.startswith(b"Serving"):
                raise RuntimeError(f"the server did not start: {(folder / 'server.log').read_text()[-800:]}")
            for number, fault in enumerate(FAULTS):
                for way in ("websocket", "udp"):
                    tokens = [
                        issuer.token(sub=f"{number}{way}{k}", name=f"P{number}{way[0]}{k}") for k in range(PEOPLE)
                    ]
                    people, sent = await measure(wire, fault, way, tokens, folder)
                    problems = [one["problem"] for one in people if "problem" in one]
                    if problems:
                        raise RuntimeError(f"{fault.name}: {problems[0]}; {(folder / 'server.log').read_text()[-800:]}")
                    found.append((fault, way, people, sent))
                    console.print(f"{fault.name}, {way}: {len(people)} people")
        finally:
            server.terminate()
            await server.wait()
    # Ticks are the world's: the frame that came soonest after its tick, in any run, says when ticks are.
    offset_s = min(s - tick / RATE_HZ for _, _, people, _ in found for one in people for s, tick in one["applied"])
    return [figures(fault, way, people, sent, offset_s) for fault, way, people, sent in found]


def main() -> int:
    """Run and judge."""
    console = Console()
    if os.getuid():
        console.print("bench.lossy needs root: it makes network namespaces and interfaces")
        return 1
    subprocess.run([sys.executable, "-m", "isthmus", "warmup"], check=True, cwd=BENCH.parent, capture_output=True)
    seen = asyncio.run(run(console))
    table = Table(title=f"{PEOPLE} people, 60 others in sight", box=None, pad_edge=False, title_justify="left")
    for heading in ("wire", "way", "frozen s/min", "stale p50 ms", "p99 ms", "kB/s each", "lost connections"):
        table.add_column(heading, justify="left" if heading in ("wire", "way") else "right")
    for one in seen:
        table.add_row(*map(str, asdict(one).values()))
    console.print(table)
    p99 = {one.way: one.stale_p99_ms for one in seen if one.fault == JUDGED}
    targets = [Target(f"staleness p99 at {JUDGED}: UDP / WebSocket", p99["udp"] / p99["websocket"], 0.5)]
    record({"lossy": [asdict(one) for one in seen]}, targets)
    show_targets(console, targets)
    return int(targets[0].verdict == "MISSED")


if __name__ == "__main__":
    sys.exit(main())
