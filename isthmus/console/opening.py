"""Puts the console of a gateway together from its options, or says that there is none.

Invariant: whatever is missing or unfit raises SetupError with the option's name and what to do, before anything
listens. Not responsible for: what operators see and do (``desk``)."""

import stat
from pathlib import Path

from cluster.book import Book, Member, Owner
from cluster.records import GATEWAY, SHARD, MemberRecord, RegionRecord
from cluster.store.contract import Store
from isthmus.clients import Clients
from isthmus.config import Config
from isthmus.console.acting import Acting
from isthmus.console.desk import Desk, Surroundings
from isthmus.console.keeping import Keeper
from isthmus.console.log import LogUnusable, OperatorLog
from isthmus.durable import FOLDER, name_of
from isthmus.fleet.rates import Rates
from isthmus.fleet.setup import SetupError
from isthmus.node import Node
from isthmus.status import Running
from server.console.access import Operators, read_secrets
from server.session.identity import Authenticate

WHOLE = 1
"""The region of a world of one process, as operators see it."""
HERE, ITS_SHARD = "gateway", "shard"
"""The halves of such a process."""


def is_wanted(config: Config) -> bool:
    """Whether there is a console."""
    return config.console.secrets_path is not None or config.console.role is not None


def operators_of(config: Config, authenticate: Authenticate) -> Operators:
    """Who is let in. Raises SetupError."""
    secrets = {}
    if config.console.secrets_path is not None:
        path = Path(config.folder) / config.console.secrets_path
        try:
            if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise SetupError(f"console.secrets_path: others may read {path}: `chmod 600 {path}`")
            secrets = read_secrets(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ValueError) as problem:
            raise SetupError(f"console.secrets_path: {path}: {problem}") from problem
    return Operators(secrets, config.console.role, authenticate)


def open_desk(
    config: Config, around: Surroundings, clients: Clients, running: Running, keeper: Keeper, store: Store | None
) -> Desk:
    """The desk of a process. Raises SetupError."""
    path = config.console.log_path
    try:
        log = OperatorLog.open(
            FOLDER / f"{name_of(config)}.{around.name}.operators.jsonl" if path is None else Path(path)
        )
    except LogUnusable as problem:
        raise SetupError(str(problem)) from problem
    acting = Acting(clients.gateway, keeper, store, config)
    return Desk(around, clients, running, acting, log, config.world.name)


class OneProcess:
    """A world of one process, told as a cluster of one shard and one gateway would be."""

    def __init__(self, node: Node, clients: Clients, rate_hz: int) -> None:
        self._node, self._clients, self._rate_hz = node, clients, rate_hz
        self._rates = Rates()

    def book(self) -> Book:
        """Members and the region, as they are now."""
        node, clients = self._node, self._clients
        recent = list(node.tick_seconds)[-self._rate_hz :]
        load = round(sum(recent) / len(recent) * self._rate_hz, 2) if recent else 0.0
        entities = sum(core.entities for core in node.shard.regions.values())
        sent = self._rates.per_s("out", clients.sent_bytes, node.tick / self._rate_hz)
        seen = len(clients.gateway.sessions.live_conns)
        shard = MemberRecord(SHARD, "", load=load, regions={WHOLE: load}, held={WHOLE: (entities, sent)})
        gateway = MemberRecord(
            GATEWAY, "", load=load, sessions=clients.gateway.sessions.held, regions={WHOLE: seen}, bytes_per_s=sent
        )
        epochs = [core.epoch for core in node.shard.regions.values()]
        return Book(
            members={ITS_SHARD: Member(ITS_SHARD, 1, shard, 1), HERE: Member(HERE, 1, gateway, 1)},
            regions={WHOLE: Owner(RegionRecord(ITS_SHARD, 1, max(epochs, default=1)), 1)},
        )
