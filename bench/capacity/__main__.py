"""``python -m bench.capacity``: unit costs measured anew, and what 10, 100 and 1,000 shards with a million clients
would ask of each resource. ``--write`` renews docs/capacity.md. Takes some six minutes.

Exit status: 0 when everything could be measured, 2 when not. (Whether a world of that size holds is a finding, no
failure.)
"""

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from bench.capacity import members, page, rates, regions, served, stores
from bench.capacity.model import Costs, Limits, World, check, estimate
from bench.prepare import PreparationError
from bench.process import ChildFailed
from bench.report import machine, record
from bench.soak.cluster import SoakFailed
from isthmus.config.model import Logging
from isthmus.fleet.etcd import EtcdMissingError
from isthmus.logging import configure
from tests.integration.durable.servers import running

SHARDS = (10, 100, 1_000)
CLIENTS = 1_000_000
NETWORK_BYTES = 10e9 / 8
MEMORY_BYTES = float(4 << 30)
DESCRIPTORS = 65_536.0
ETCD_CORES = 4.0


def measure(console: Console) -> tuple[Costs, Limits]:
    """Everything, one after the other. Raises what the parts raise, and ValueError for costs below zero."""
    console.print("entities, ghosts, crossings ...")
    simulated = regions.measure()
    console.print("links, sessions, news ...")
    membership = members.measure()
    # Not in memory: what a flush of a disk takes is most of what is measured.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL may run as another user
        with running(folder) as server:
            console.print("etcd and PostgreSQL by themselves ...")
            stored = stores.measure(folder, server)
            console.print("what a cluster writes ...")
            written = rates.measure(folder, server)
    console.print("people ...")
    people = served.measure(simulated.moving_us)
    costs = Costs(
        **asdict(simulated),
        **asdict(people),
        message_us=membership.message_us,
        link_us=membership.link_us,
        session_bytes=membership.session_bytes,
        session_us=membership.session_us,
        etcd_put_us=stored.etcd_put_us,
        etcd_event_us=stored.etcd_event_us,
        event_us=stored.hear_us + membership.book_us,
        event_region_us=membership.event_region_us,
        **asdict(written),
    )
    check(costs)
    limits = Limits(
        stored.etcd_puts, ETCD_CORES, stored.commits, stored.wal_bytes, NETWORK_BYTES, MEMORY_BYTES, DESCRIPTORS
    )
    return costs, limits


def main() -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew docs/capacity.md, and keep the figures")
    given = parser.parse_args()
    console = Console(width=160)
    configure(Logging(level="error"))
    try:
        costs, limits = measure(console)
    except (PreparationError, ChildFailed, SoakFailed, EtcdMissingError, RuntimeError, ValueError) as problem:
        console.print(f"bench.capacity: {problem}", style="bold red", markup=False)
        return 2
    estimates = [estimate(World(shards, CLIENTS), costs, limits) for shards in SHARDS]
    text = page.text(costs, limits, estimates, f"Measured on {machine()['cpu']}, {machine()['cores']} cores.")
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    if given.write:
        page.PAGE.write_text(text)
        findings = [
            {
                "shards": each.world.shards,
                "clients": each.world.clients,
                "gateways": each.gateways,
                "needs": {need.resource: need.share for need in each.needs},
                "bottleneck": each.bottleneck.resource,
            }
            for each in estimates
        ]
        record({"capacity": {"costs": asdict(costs), "limits": asdict(limits), "estimates": findings}}, [])
    return 0


if __name__ == "__main__":
    sys.exit(main())
