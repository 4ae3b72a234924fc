"""Puts a world together from its options: the place, the author's scripts, the shard, the gateway's fixed facts.

Decides how options become the cores' own configuration. Not responsible for: sockets and time (``isthmus.node``).
"""

import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bridges.places import load_place
from cluster.regions import Layout
from isthmus.channels import channel_specs
from isthmus.config import Config
from isthmus.durable import leaves_of
from isthmus.fleet.setup import layout_of
from protocol.messages import CARRIER_UDP
from protocol.place import Place, PlaceError
from server.core.gateway import GatewayCore, GatewayFacts
from server.core.profiles import PROFILES, Profile
from server.core.views import ViewRules
from server.session.identity import Authenticate
from server.session.limits import SessionLimits
from server.session.tickets import Tickets
from shard.behaviours.api import Script
from shard.config import ShardConfig
from shard.core import ShardCore

if TYPE_CHECKING:
    from shard.phases.replay import ReplayMotion

CACHE = Path(".isthmus")
"""Beside where the server was started: imported places. Safe to delete."""


class WorldError(Exception):
    """The world cannot be put together; the text says what to mend."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """What ``isthmus serve`` runs. ``leaves``: cells of the durable store, from which the world's region is to be made
    (``isthmus.kept``); None: the region is made already, and its motion is replayed."""

    place: Place | None
    shard: ShardCore
    facts: GatewayFacts
    leaves: Layout | None


def load_scripts(path: Path) -> list[Script]:
    """All Script objects that a world's module defines, in the order of their definition.

    The module's folder is put behind ours on ``sys.path``, so that it may import its neighbours but never shadows us.
    Raises WorldError; an exception of the module itself is named with its place.
    """
    if not path.is_file():
        raise WorldError(f"world.behaviours: there is no file {path}")
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(f"world_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise WorldError(f"world.behaviours: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        line = trace.tb_lineno if trace is not None else 0
        raise WorldError(f"world.behaviours: {path}:{line}: {type(error).__name__}: {error}") from error
    scripts = [value for value in vars(module).values() if isinstance(value, Script)]
    if not scripts:
        raise WorldError(f'world.behaviours: {path} defines no Script; begin with `script = Script("name")`')
    return scripts


def load_replay(folder: Path) -> "ReplayMotion":
    """Motion of a trajectory folder (bench/README.md): ``x y z yaw vx vy vz`` as .npy, float32 [ticks, entities]."""
    import numpy as np

    from shard.phases.replay import ReplayMotion

    try:
        columns = {name: np.load(folder / f"{name}.npy") for name in ("x", "y", "z", "yaw", "vx", "vy", "vz")}
        position = np.stack([columns["x"], columns["y"], columns["z"]], axis=2)
        velocity = np.stack([columns["vx"], columns["vy"], columns["vz"]], axis=2)
        return ReplayMotion(position, velocity, columns["yaw"])
    except (OSError, ValueError) as error:
        raise WorldError(f"shard.replay_path: {folder}: {error}") from error


def the_place(config: Config) -> Place | None:
    """The real place that a world is at, imported or from the cache. Raises WorldError."""
    source = config.world.place
    if source is None:
        return None
    try:
        return load_place(source if not source.endswith(".pbf") else Path(config.folder) / source, CACHE)
    except (PlaceError, OSError) as error:
        raise WorldError(f"world.place: {error}") from error


def make_shard(config: Config, place: Place | None, tick: int = 0, leaves: Layout | None = None) -> ShardCore:
    """A shard of the world, without regions yet; ``tick``: the last that is over; ``leaves``: cells that the durable
    store keeps rows by, if there is one. Raises WorldError."""
    scripts = []
    if config.world.behaviours is not None:
        scripts = load_scripts(Path(config.folder) / config.world.behaviours)
    shard_config = ShardConfig(
        seed=config.world.seed,
        rate_hz=config.world.rate_hz,
        steps_per_tick=config.world.steps_per_tick,
        people_max=config.limits.sessions_max,
        rows_max=config.shard.entities_max,
        bounds_half_m=config.world.extent_m / 2,
        tolerance_near_m=config.view.near_tolerance_m,
        tolerance_far_m=config.view.far_tolerance_m,
        orphan_s=config.limits.resume_s + 10.0,
        durable=leaves is not None,
        leaves=leaves,
    )
    options = {"inhabitants_count": config.world.inhabitants_count, "props_count": config.world.props_count}
    return ShardCore(shard_config, place, scripts, options=options, tick=tick)


def make_facts(
    config: Config, place: Place | None, version: str, gateway: int = 1, layout: Layout | None = None
) -> GatewayFacts:
    """What a gateway says of the world. ``gateway``: its number, of this life alone; ``layout``: of a cluster."""
    return GatewayFacts(
        gateway=gateway,
        world=config.world.name,
        rate_hz=config.world.rate_hz,
        steps_per_tick=config.world.steps_per_tick,
        anchor=None if place is None else place.anchor,
        map=None if place is None else "/map/index.json",
        attribution="" if place is None else place.attribution,
        server=f"isthmus {version}",
        idle_ack_ms=config.limits.idle_ack_ms,
        layout=layout,
        spawn_m=_spawn_m(place),
    )


def _spawn_m(place: Place | None) -> tuple[tuple[float, float], ...]:
    """Where newcomers begin: at the place's spawn points, or at the origin."""
    if place is None or not len(place.spawn_m):
        return ((0.0, 0.0),)
    return tuple((float(x), float(z)) for x, z in place.spawn_m)


def assemble(config: Config, version: str) -> Assembly:
    """Place, shard and facts of the world that ``config`` describes, in one process. Raises WorldError."""
    place = the_place(config)
    path = config.shard.replay_path
    facts = make_facts(config, place, version)
    if path is not None:
        shard = make_shard(config, place)
        shard.add_region(0, 1, start=True, replay_motion=load_replay(Path(config.folder) / path))
        return Assembly(place, shard, facts, None)
    leaves = leaves_of(layout_of(config, place, level=0))
    return Assembly(place, make_shard(config, place, leaves=leaves), facts, leaves)


def make_gateway(
    config: Config,
    facts: GatewayFacts,
    authenticate: Authenticate,
    random_bytes: Callable[[int], bytes],
    capacity: int,
    tickets: Tickets | None = None,
    datagrams_from: int | None = None,
    carriers: frozenset[int] = frozenset({CARRIER_UDP}),
) -> GatewayCore:
    """The gateway's core with the limits that ``config`` sets. ``datagrams_from``, ``carriers``: as ``GatewayCore``
    takes them."""
    rules = ViewRules(
        radius_m=config.view.radius_m,
        near_radius_m=config.view.near_radius_m,
        outer_radius_m=config.view.outer_radius_m,
        outer_tolerance_m=config.view.outer_tolerance_m - config.view.far_tolerance_m,
        hysteresis=config.view.hysteresis_ratio,
        cap=config.view.entities_max,
    )
    limits = SessionLimits(
        sessions_max=config.limits.sessions_max,
        joins_per_tick=max(1, round(config.limits.joins_per_s / config.world.rate_hz)),
        connections_per_address_max=config.limits.connections_per_address_max,
        heartbeat_timeout_s=config.limits.heartbeat_s,
        resume_grace_s=config.limits.resume_s,
        chat_per_s=config.limits.chat_per_s,
        chat_burst=config.limits.chat_burst,
        acts_per_s=config.limits.acts_per_s,
        acts_burst=config.limits.acts_burst,
        name_chars_max=config.limits.name_length_max,
    )
    profiles = {
        name: profile.but(Profile(**asdict(getattr(config, f"profile_{name}")))) for name, profile in PROFILES.items()
    }
    return GatewayCore(
        facts,
        capacity,
        rules,
        limits,
        authenticate,
        random_bytes,
        tickets,
        channel_specs(config),
        datagrams_from=datagrams_from,
        carriers=carriers,
        profiles=profiles,
        unix_s=time.time,
    )
