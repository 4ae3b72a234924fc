"""Where inputs' lives are looked at in a process, if its options want that: hooks of the gateway's core, its clients
and the shard's core, which are None else.

Decides nothing but what is read of a core. Not responsible for: which inputs (``lives``), sending (``traces``).
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isthmus.clients import Clients
from isthmus.config import Config
from isthmus.fleet.setup import SetupError
from isthmus.observe.lives import U32, GatewayLives, ShardLives
from protocol.link import Upward
from shard.core import ShardCore, StepResult

if TYPE_CHECKING:
    from isthmus.observe.traces import Traces


def open_traces(config: Config, name: str, kind: str) -> "Traces | None":
    """Where spans go; None: the options want none. Raises SetupError if the extra is not installed."""
    if config.tracing.endpoint is None:
        return None
    try:
        # An optional extra, and slow to import: only who wants it loads it.
        from isthmus.observe.traces import Traces
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("opentelemetry", "google", "requests"):
            raise
        raise SetupError(
            "tracing.endpoint needs the packages of OpenTelemetry, which are not installed: run "
            "`pip install 'isthmus[tracing]'`, or leave tracing.endpoint out"
        ) from error
    return Traces(config, name, kind)


def follow_clients(config: Config, clients: Clients) -> GatewayLives:
    """Follow inputs of these clients."""
    lives = GatewayLives(config.tracing.sample_ratio, config.tracing.inputs_max)
    core = clients.gateway

    def taken(conn: U32, seq: U32) -> None:
        lives.taken(core.bodies.session_at[conn], conn, seq, time.monotonic())

    def forwarded(said: dict[int, tuple[Any, Any, Any, Any, Any]]) -> None:
        now_s = time.monotonic()
        for region, (_, _, seq, _, conn) in said.items():
            lives.forwarded(region, conn, seq, now_s)

    def told() -> None:
        lives.told(core.bodies.session_at, core.views.state.views["own_seq"], time.monotonic())

    core.on_commands, core.on_upward, core.on_delta = taken, forwarded, told
    clients.on_sent = lives.sent
    return lives


def follow_shard(config: Config, core: ShardCore) -> ShardLives:
    """Follow inputs that come to this shard."""
    lives = ShardLives(config.tracing.sample_ratio, config.tracing.inputs_max)

    def sessions_of(said: Upward) -> npt.NDArray[np.uint64]:
        region = core.regions.get(said.region)
        rows = np.asarray(said.input_row).astype(np.int64)
        if region is None:
            return np.zeros(len(rows), np.uint64)
        table = region.state.table
        known = rows < len(table.generation)
        rows = np.where(known, rows, 0)
        mine = known & (table.generation[rows] == said.input_generation)
        return np.where(mine, table.columns["o.session"][rows], 0).astype(np.uint64)

    def stepping(said: Sequence[Upward]) -> None:
        lives.stepping(said, sessions_of, time.monotonic())

    def stepped(result: StepResult) -> None:
        lives.stepped([told.delta for told in result.published], time.monotonic())

    core.on_step, core.on_stepped = stepping, stepped
    return lives
