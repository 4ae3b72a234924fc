"""The crowd of ``bench.crowd`` (simulated, nothing replayed) in one form of the server: what it costs, if it holds.

Not responsible for: which forms are compared (``cluster``).
"""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.contenders import our_probe, our_swarm
from bench.fleet import Fleet, Form
from bench.prepare import BENCH, Tools
from bench.run import CLIENT_CORE, HELD_FRACTION, PROBES

RATE_HZ = 20
WORLD = BENCH / "worlds" / "crowd.toml"


@dataclass(frozen=True)
class FormFigures:
    """One run. CPU in core seconds per second; ``mirrored``: part of all regions that a gateway mirrors, mean."""

    form: str
    clients: int
    ticks_per_s: float
    held: bool
    valid: bool
    violations: int
    first_violation: str | None
    lost: int
    server_cpu: float
    shard_cpu: float
    gateway_cpu: float
    other_cpu: float
    mirrored: float
    gap_max_s: float
    tick_p99_s: float


def measure(tools: Tools, form: Form, clients: int, window_s: float, settle_s: float) -> FormFigures:
    """One run. Raises ChildFailed."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # The swarm does not follow a gateway that sends it elsewhere.
        fleet = Fleet(stack, form, WORLD, folder, "--gateway-affinity", "false")
        probes, swarms = [], []
        part = clients // form.gateways
        # As many in all in each form: they share a core with the other clients.
        watching = [PROBES // form.gateways + (k < PROBES % form.gateways) for k in range(form.gateways)]
        for k, port in enumerate(fleet.ports):
            probes.append(fleet.child(f"probe-{k}", our_probe(port, watching[k]), CLIENT_CORE))
            probes[-1].wait("ready", 60)
        for k, port in enumerate(fleet.ports):
            (folder / str(k)).mkdir()
            first, rest = watching[k], part - watching[k]
            command: list[str | Path] = [tools.swarm, "--port", str(port)]
            command += ["--clients", str(rest), "--first", str(first)]
            command += our_swarm(folder / str(k), port, first, rest)
            swarms.append(fleet.child(f"swarm-{k}", command, CLIENT_CORE))
        for swarm in swarms:
            swarm.wait("ready", 120)
        # A cluster sets its crowd down over all regions first: thousands of crossings, once.
        time.sleep(settle_s if form.level == 0 else 5 * settle_s)
        for each in (*probes, *swarms):
            each.say("begin")
        served = fleet.served[0]
        served.begin()
        before, began_s = fleet.cpu_s(), time.monotonic()
        time.sleep(window_s)
        seconds = time.monotonic() - began_s
        used = {name: (after - before[name]) / seconds for name, after in fleet.cpu_s().items()}
        for each in (*swarms, *probes):
            each.say("end")
        window = served.end()
        swarmed = [swarm.wait("ended", 30) for swarm in swarms]
        probed = [probe.wait("ended", 60) for probe in probes]
        mirrored = fleet.mirrored()
    ticks_per_s = window["ticks"] / window["seconds"]
    dead, violations = sum(each["dead"] for each in swarmed), sum(each["violations"] for each in probed)
    return FormFigures(
        form=form.name,
        clients=clients,
        ticks_per_s=ticks_per_s,
        held=ticks_per_s >= HELD_FRACTION * RATE_HZ,
        valid=violations == 0 and dead == 0 and all(each["ticks"] > 0 for each in probed),
        violations=violations,
        first_violation=next((each["first_violation"] for each in probed if each["first_violation"]), None),
        lost=dead,
        server_cpu=used["shards"] + used["gateways"],
        shard_cpu=used["shards"],
        gateway_cpu=used["gateways"],
        other_cpu=used["others"],
        mirrored=mirrored,
        gap_max_s=max(each["gap_max_s"] for each in swarmed),
        tick_p99_s=window["done_p99_s"],
    )


def show(console: Console, runs: Sequence[FormFigures]) -> None:
    """A line for each run."""
    table = Table(title="A crowd over processes", title_justify="left", box=None, pad_edge=False, header_style="bold")
    headings = ("form", "clients", "ticks/s", "CPU s/s", "shards", "gateways", "etcd, placer", "mirrored", "gap ms", "")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("form", "") else "right")
    for f in runs:
        problem = "" if f.valid else f"INVALID: {f.first_violation or f'{f.lost} clients lost'}"
        table.add_row(
            f.form, str(f.clients), f"{f.ticks_per_s:.1f}", f"{f.server_cpu:.3f}", f"{f.shard_cpu:.3f}",
            f"{f.gateway_cpu:.3f}", f"{f.other_cpu:.3f}", f"{f.mirrored:.2f}", f"{1000 * f.gap_max_s:.0f}",
            problem or ("" if f.held else "did not hold"),
        )  # fmt: skip
    console.print(table)
