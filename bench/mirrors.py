"""The mirror factor: which part of all regions a gateway has to mirror, by where its clients are.

Python clients (they go where a gateway sends them) stroll over sixteen regions and come in at either of two gateways in
turn; once sessions stay where they came in, once they are moved by affinity. Not responsible for: what a mirror costs.
"""

import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from bench.fleet import Fleet, Form
from bench.forms import WORLD
from bench.run import CLIENT_CORE

FORM = Form("2 shards + 2 gateways", 2, 2, 2)
BOTS = 100
"""In all."""
SETTLE_S = 45.0
SAMPLES, SAMPLE_S = 10, 1.0


@dataclass
class Mirrors:
    """Part of all regions that a gateway mirrors, mean over gateways, sampled once a second; and how sessions are
    spread."""

    clients: int = BOTS
    regions: int = 4**FORM.level
    random: list[float] = field(default_factory=list)
    affine: list[float] = field(default_factory=list)
    sessions_random: list[int] = field(default_factory=list)
    sessions_affine: list[int] = field(default_factory=list)


def _run(affinity: bool) -> tuple[list[float], list[int]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fleet = Fleet(stack, FORM, WORLD, folder, "--gateway-affinity", str(affinity).lower())
        for k, port in enumerate(fleet.ports):
            line = [sys.executable, "-m", "isthmus", "bots", str(BOTS // FORM.gateways), "--headless-walk"]
            line += ["--url", f"http://127.0.0.1:{port}", "--seed", str(k + 1)]
            fleet.child(f"bots-{k}", line, CLIENT_CORE)
        time.sleep(SETTLE_S)
        found = []
        for _ in range(SAMPLES):
            found.append(fleet.mirrored())
            time.sleep(SAMPLE_S)
        return found, [int(fleet.status(k)["sessions"]) for k in range(FORM.gateways)]


def measure() -> Mirrors:
    """Both. Raises ChildFailed."""
    found = Mirrors()
    found.random, found.sessions_random = _run(affinity=False)
    found.affine, found.sessions_affine = _run(affinity=True)
    return found


def show(console: Console, found: Mirrors) -> None:
    """Both as a sentence."""
    for name, parts, sessions in (
        ("where they came in", found.random, found.sessions_random),
        ("by affinity", found.affine, found.sessions_affine),
    ):
        mean = sum(parts) / len(parts)
        console.print(
            f"mirror factor, {found.clients} clients {name}: {mean:.2f} of {found.regions} regions per gateway; "
            f"sessions {sessions}"
        )
