"""``isthmus serve``: warm up, put the world together, open the doors, run until a signal comes.

Decides the order of start and end, nothing else: it listens only when everything is in place, and a mistake ends it
before that with an exit status and a sentence. Not responsible for: the tick loop (``isthmus.node``), what is served
(``server.http``).
"""

import asyncio
import gc
import os
import signal
import sys
import time
from importlib.metadata import version as installed_version

import structlog
import uvloop
from rich.console import Console

from cluster.moves import Moves
from isthmus.config import Config
from isthmus.console.desk import Surroundings
from isthmus.console.keeping import FileKeeper, OrdersUnusable
from isthmus.console.opening import HERE, OneProcess, is_wanted, open_desk
from isthmus.durable import name_of
from isthmus.fleet.figures import FAULTS, SERVE, of_interpreter
from isthmus.fleet.setup import SetupError, layout_of
from isthmus.front import Front
from isthmus.kept import KeptWorld, begin, key_of_sessions, orders_path
from isthmus.logging import configure
from isthmus.node import Node
from isthmus.observe.figure import Figure, Shown
from isthmus.observe.following import follow_clients, follow_shard, open_traces
from isthmus.warmup import warm_up
from isthmus.worlds import Assembly, WorldError, assemble
from server.session.jwks import JwksUnavailable
from shard.durable.contract import Away, Incompatible

_log = structlog.get_logger(__name__)
EXIT_WORLD = 78
"""EX_CONFIG of sysexits.h: trying again does not help."""
EXIT_UNAVAILABLE = 69
"""EX_UNAVAILABLE: an address in use, an issuer that does not answer."""


def run(config: Config) -> None:
    """Serve until SIGINT or SIGTERM. Ends the process with a status other than 0 if the world cannot be served."""
    configure(config.logging)
    try:
        warm_up()
        assembly = assemble(config, installed_version("isthmus"))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(config, assembly))
    except (WorldError, SetupError, OrdersUnusable, Incompatible) as error:
        sys.exit(_said(str(error), EXIT_WORLD))
    except (OSError, JwksUnavailable, Away) as error:
        sys.exit(_said(str(error), EXIT_UNAVAILABLE))


def _said(text: str, status_code: int) -> int:
    Console(stderr=True).print(f"isthmus: {text}", style="bold red", markup=False)
    return status_code


async def _serve(config: Config, assembly: Assembly) -> None:
    key = None if assembly.leaves is None else key_of_sessions(config)
    front = await Front.prepare(config, assembly.facts, assembly.place, key, name=name_of(config), kind=SERVE)
    traces = open_traces(config, name_of(config), SERVE)
    if traces is not None:
        people, inputs = follow_clients(config, front.clients), follow_shard(config, assembly.shard)
        front.observed.after_tick = lambda: traces.tell([*inputs.over(now_s := time.monotonic()), *people.over(now_s)])
    kept: KeptWorld | None = None
    if assembly.leaves is not None:
        core, damaged = await begin(config, assembly.leaves, assembly.shard)
        kept = KeptWorld(config, assembly.leaves, core, damaged, on_overtaken=lambda: node.stop())
        Shown(front.observed.registry, kept.figures)
    Shown(front.observed.registry, lambda: [*of_interpreter(), Figure(FAULTS, node.faults)])
    stepped, warnings = (kept.stepped, kept.warnings) if kept is not None else (lambda draft: None, list)
    node = Node(
        assembly.shard,
        front.clients,
        config.world.rate_hz,
        config.limits.admission_load_ratio,
        stepped=stepped,
        warnings=warnings,
        observed=front.observed,
    )
    keeper = FileKeeper(orders_path(config), lambda orders: front.clients.gateway.obey(orders, time.monotonic()))
    desk = None
    if is_wanted(config):
        one = OneProcess(node, front.clients, config.world.rate_hz)
        side_m = layout_of(config, assembly.place, level=0).side_m
        around = Surroundings(HERE, side_m, config.world.rate_hz, one.book, Moves(), lambda number: None)
        desk = open_desk(config, around, front.clients, node, keeper, None)
        desk.begin()
    url = await front.open(node, node.started.is_set, desk=desk)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, node.stop)
    gc.collect()
    gc.freeze()  # what start-up made lives for ever: the collector need not look at it again
    running = loop.create_task(node.run())
    started = loop.create_task(node.started.wait())
    await asyncio.wait((running, started), return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    front.announce(url)
    _log.info("ready", world=config.world.name, url=url, pid=os.getpid())
    try:
        await running
    finally:
        if desk is not None:
            await desk.close()
        await front.close()
        if kept is not None:
            await kept.close()
        if traces is not None:
            await asyncio.to_thread(traces.close)
        _log.info("stopped", tick=node.shard.tick)
