"""``isthmus shard`` and ``isthmus placer``: one member of a cluster, until it has drained.

Decides the order of start and end. Not responsible for: rules (the cores), carrying (``isthmus.fleet.host``).
"""

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import numpy as np
import structlog
import uvloop
from rich.console import Console

from cluster.out import Out
from cluster.placing import PlacerProcess
from cluster.records import KIND_PLACER, SHARD, MemberRecord
from cluster.regions import Layout
from cluster.store.contract import StoreError
from cluster.turns import Takers
from isthmus.config import Config
from isthmus.durable import AWAY, MEMORY, Bank, identity_of, leaves_of, so_far, url_of
from isthmus.fleet.agreed import WorldDiffers, agree
from isthmus.fleet.figures import Borders, of_host, of_interpreter, of_journal, of_placer, of_shard
from isthmus.fleet.host import Host, ProcessCore, Turn, draw_move
from isthmus.fleet.rates import Rates
from isthmus.fleet.region_log import RegionLog
from isthmus.fleet.setup import SetupError, layout_of, level_max_of, links_config, member_name, open_store, world_record
from isthmus.logging import configure
from isthmus.observe.figure import Figure, Shown
from isthmus.observe.following import follow_shard, open_traces
from isthmus.observe.observed import Observed
from isthmus.observe.ticks import Recorder
from isthmus.warmup import warm_up
from isthmus.worlds import WorldError, make_shard, the_place
from shard.core import ShardCore
from shard.durable.contract import Away, Incompatible
from shard.process import ShardOut, ShardProcess

_log = structlog.get_logger(__name__)
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: trying again does not help."""
EXIT_UNAVAILABLE = 69
"""EX_UNAVAILABLE: etcd does not answer, an address is in use."""
LAST_S = 1.5
"""For the last batches of a shard that ends: less than what a lease has left."""
ENTITIES_BASE = 20
"""What a region costs without entities, in entities: its load is shared out by entities and this."""


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a member; ends the process with a sentence and a status other than 0 if that cannot be."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)
    except (WorldError, WorldDiffers, SetupError, Incompatible) as error:
        sys.exit(_said(str(error), EXIT_CONFIG))
    except (OSError, StoreError, Away) as error:
        sys.exit(_said(str(error), EXIT_UNAVAILABLE))


def _said(text: str, status: int) -> int:
    Console(stderr=True).print(f"isthmus: {text}", style="bold red", markup=False)
    return status


def run_shard(config: Config) -> None:
    """A shard, until it has drained."""
    configure(config.logging)
    warm_up()
    run(_shard(config))


def run_placer(config: Config) -> None:
    """A placer, until it is told to end."""
    configure(config.logging)
    run(_placer(config))


async def _shard(config: Config) -> None:
    place = the_place(config)
    layout = layout_of(config, place)
    # Memory that only one of many processes has keeps nothing: the region begins anew elsewhere.
    leaves = None if url_of(config) == MEMORY else leaves_of(layout)
    name = member_name(config, SHARD)

    async def make(host: Host, address: str) -> tuple[ProcessCore, Turn]:
        core = make_shard(config, place, host.tick_now, leaves)
        process = ShardProcess(
            name, MemberRecord(SHARD, address, generation=host.generation), layout, core, draw_move()
        )
        observed, borders = Observed(config, name, SHARD, shard_recorder(core, host)), Borders()
        phases = observed.recorder.phases
        # What follows a region's last phase is what the others are told of it.
        core.on_phase = lambda phase: phases.begin(phase or "tell")
        core.on_region = phases.of_region
        traces = open_traces(config, name, SHARD)
        if traces is not None:
            lives = follow_shard(config, core)
            process.on_upward = lambda said: lives.arrived(said, time.monotonic())
            observed.after_tick = lambda: traces.tell(lives.over(time.monotonic()))
        log = RegionLog()
        faults = 0
        told = Rates()
        process.on_lost = log.lost
        process.on_change = log.change

        bank = None
        if leaves is not None:
            bank = Bank(
                url_of(config),
                identity_of(config, leaves),
                lambda number, reply: host.do(process.journaled(number, reply, time.monotonic())),
            )
            await bank.open()

        def carried(out: Out) -> None:
            nonlocal faults
            faults += len(out.faults) if isinstance(out, ShardOut) else 0
            log.look({region: own.epoch for region, own in core.regions.items()}, core.frozen)
            _log_faults(out)
            if bank is not None and isinstance(out, ShardOut):
                for number, question in out.journal:
                    bank.ask(number, question)

        def measured(load: float) -> None:
            parts = {region: own.entities + ENTITIES_BASE for region, own in core.regions.items()}
            whole = sum(parts.values())
            shares = {region: load * part / whole for region, part in parts.items()}
            held = {
                region: (own.entities, told.per_s(region, process.told_bytes[region], time.monotonic()))
                for region, own in core.regions.items()
            }
            process.member.report(load, shares, durable_away=bank is not None and bank.is_away, held=held)

        def figures() -> list[Figure]:
            all_of_it = [*of_interpreter(), *of_host(host.load, host.draining)]
            all_of_it += of_shard(process, host.links, borders, faults, time.monotonic())
            if bank is not None and process.keeper is not None:
                damaged, rate_hz = process.counts["rows damaged"], config.world.rate_hz
                all_of_it += of_journal(process.keeper.keeping, bank, damaged, core.tick, rate_hz)
            return all_of_it

        def warnings() -> list[str]:
            return [AWAY] if bank is not None and bank.is_away else []

        takers = Takers(name)

        def drained() -> bool:
            return not process.member.claims or not takers.any(process.member.book)

        async def write_last() -> None:
            end_s = time.monotonic() + LAST_S
            while time.monotonic() < end_s:
                host.do(process.write_all(time.monotonic()))
                if process.is_written:
                    return
                await asyncio.sleep(0.005)

        def before(far_slack: float) -> None:
            phases.begin("members")
            core.shed(far_slack)

        async def after_all() -> None:
            await observed.close()
            if traces is not None:
                await asyncio.to_thread(traces.close)
            if bank is not None:
                await bank.close()

        Shown(observed.registry, figures)
        await observed.open(host.ready, warnings)
        return process, Turn(
            before=before,
            after=measured,
            before_leaving=write_last,
            on_out=carried,
            drained=drained,
            figures=figures,
            ticked=observed.ticked,
            after_all=after_all,
        )

    await be_member(config, name, layout, make)


def shard_recorder(core: ShardCore, host: Host) -> Recorder:
    """What is recorded of each tick of a shard."""

    def sample() -> tuple[float, ...]:
        regions = core.regions.values()
        return len(regions), sum(region.entities for region in regions), sum(host.links.tally.sent_bytes.values())

    return Recorder(("regions", "entities", "link_bytes_total"), sample)


def _log_faults(out: Out) -> None:
    if isinstance(out, ShardOut):
        for region, fault in out.faults:
            _log.error("behaviour_quarantined", region=region, behaviour=fault.behaviour, text=fault.text)
        for region, restored in out.loaded:
            _log.info("region_loaded", region=region, entities=restored.entities, damaged=len(restored.damage))
            for damage in restored.damage:
                _log.error("durable_damaged", region=region, what=damage.what, why=damage.why)


async def _placer(config: Config) -> None:
    layout = layout_of(config, the_place(config))
    name = member_name(config, KIND_PLACER)

    async def make(host: Host, address: str) -> tuple[ProcessCore, Turn]:
        record = MemberRecord(KIND_PLACER, address, generation=host.generation)
        process = PlacerProcess(name, record, layout, level_max_of(config, layout))
        observed = Observed(config, name, KIND_PLACER)

        def figures() -> list[Figure]:
            own = [*of_interpreter(), *of_host(host.load, host.draining)]
            return [*own, *of_placer(process, host.links, time.monotonic())]

        Shown(observed.registry, figures)
        await observed.open(host.ready)
        return process, Turn(figures=figures, ticked=observed.ticked, after_all=observed.close)

    await be_member(config, name, layout, make)


async def be_member(
    config: Config,
    name: str,
    layout: Layout,
    make: Callable[[Host, str], Awaitable[tuple[ProcessCore, Turn]]],
) -> None:
    """A member from the first word to the last. ``make`` is told where its links are, and makes what runs."""
    links = links_config(config)
    store = open_store(config, np.random.default_rng())
    try:
        leaves = leaves_of(layout)
        agreed = await agree(store, world_record(config, layout), lambda: so_far(config, leaves))
        host = Host(name, store, agreed, links, config.cluster.drain_s)
        core, turn = await make(host, await host.listen(config.cluster.link_advertise_host))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, host.stop)
        gc.collect()
        gc.freeze()
        _log.info("ready", member=name, link=host.links.address)
        await host.run(core, turn)
        await turn.after_all()
        _log.info("stopped", member=name)
    finally:
        await store.close()
