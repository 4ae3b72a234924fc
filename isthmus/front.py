"""What a process shows to clients: its address, HTTP, who is let in. Used by ``isthmus serve`` and ``isthmus gateway``.

Decides the order in which that begins and ends: it listens only when everything is in place. Not responsible for: the
tick (``node``, ``gateway``), what is served (``server.http``).
"""

import secrets
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from aiohttp import web
from joserfc.jwk import KeySet

from bridges.tiles import map_files
from isthmus.clients import Clients
from isthmus.config import Config
from isthmus.console.desk import Desk
from isthmus.console.opening import is_wanted, operators_of
from isthmus.fleet.setup import SetupError
from isthmus.observe.observed import Observed
from isthmus.status import Running, refresh, status
from isthmus.worlds import make_gateway
from protocol.messages import CARRIER_UDP, CARRIER_WEBTRANSPORT
from protocol.place import Place
from server.console.access import Operators
from server.core.gateway import GatewayFacts
from server.http.app import Resource, Services, make_app
from server.http.guard import Guard
from server.http.operators import OperatorRoutes
from server.metrics import Metrics
from server.session.identity import Authenticate
from server.session.jwks import JwksKeeper
from server.session.tickets import Tickets
from server.session.tokens import GuestIssuer, TokenRules, TokenVerifier, authenticator
from server.transport.accept import Acceptor
from server.transport.carriers import Carriers
from server.transport.config import CarrierConfig, raise_nofile
from server.transport.datagrams.config import DatagramConfig
from server.transport.datagrams.transport import Datagrams
from server.transport.datagrams.way import Table, Way
from server.transport.webtransport.certificates import Certificates, Generated, Own
from server.transport.webtransport.config import WebTransportConfig


class Front:
    """Everything that clients reach in one process. ``prepare``, then ``open`` when the world runs, ``close``."""

    def __init__(
        self,
        config: Config,
        clients: Clients,
        guests: GuestIssuer | None,
        place: Place | None,
        observed: Observed,
        operators: Operators | None,
        keys: JwksKeeper | None,
    ) -> None:
        self.config = config
        self.clients = clients
        self.observed = observed
        self._guests = guests
        self._operators, self._keys = operators, keys
        self._place = place
        self._runner: web.AppRunner | None = None

    @classmethod
    async def prepare(
        cls,
        config: Config,
        facts: GatewayFacts,
        place: Place | None,
        cluster_key: bytes | None = None,
        *,
        name: str,
        kind: str,
    ) -> "Front":
        """Sockets, keys and the gateway's core, before anything listens. With ``cluster_key`` sessions of other
        gateways, and of this one before a restart, go on here, and their guests are let in. ``name`` and ``kind``: of
        the process, for operators. Raises OSError, JwksUnavailable, SetupError."""
        capacity = config.limits.sessions_max + 64  # so that a full world can still say so
        raise_nofile(capacity)
        carriers = Carriers(
            CarrierConfig(
                capacity=capacity,
                message_bytes_max=config.limits.message_bytes_max,
                messages_per_s=config.limits.messages_per_s,
                message_burst=config.limits.messages_burst,
                connections_per_address=_per_address(config, capacity),
                tls_at_proxy=_tls_at_proxy(config),
            )
        )
        datagrams = _datagrams(config, capacity)
        others = sum(table.config.capacity for table in datagrams.values())
        authenticate, guests, keys = await _identity(config, cluster_key)
        draw = secrets.token_bytes
        tickets = Tickets.alone(draw) if cluster_key is None else Tickets.of_cluster(cluster_key, draw, time.time)
        gateway = make_gateway(
            config,
            facts,
            authenticate,
            draw,
            capacity + others,
            tickets,
            capacity if datagrams else None,
            frozenset(datagrams),
        )
        metrics = Metrics()
        metrics.sessions_max.set(config.limits.sessions_max)
        clients = Clients(gateway, carriers, metrics, keys, datagrams)
        observed = Observed(config, name, kind, clients.recorder, metrics.registry, metrics.pace)
        operators = operators_of(config, authenticate) if is_wanted(config) else None
        return cls(config, clients, guests, place, observed, operators, keys)

    async def open(
        self,
        running: Running,
        ready: Callable[[], bool],
        fellows: Callable[[], frozenset[str]] = frozenset,
        desk: Desk | None = None,
    ) -> str:
        """Listen; returns the page's address. ``fellows``: origins of the cluster's gateways; ``desk``: what operators
        see and do, if there is a console. Raises OSError."""
        config, observed = self.config, self.observed
        own = config.gateway
        guard = replace(Guard.of(own.allowed_hosts, own.allowed_origins, own.proxies), fellows=fellows)
        acceptor = Acceptor(self.clients.carriers, guard)
        services = Services(
            ready=ready,
            status=lambda: status(running, config),
            warnings=running.warnings,
            metrics=self.clients.metrics,
            map=_map(self._place),
            issue_guest=None if self._guests is None else self._guests.issue,
            static=_static(),
            alive=observed.alive,
            exposition=observed.exposition if config.observe.listen is None else None,
            channels=self.clients.gateway.channels.guide,
            webtransport=CARRIER_WEBTRANSPORT in self.clients.datagrams,
            operators=self._operator_routes(desk, guard),
        )
        observed.refresh = lambda: refresh(running, acceptor)
        await observed.open(ready, running.warnings)
        self._runner = web.AppRunner(make_app(services, guard, acceptor), access_log=None)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, config.gateway.host, config.gateway.port, ssl_context=_tls(config), backlog=4096
        )
        await site.start()
        address = self._runner.addresses[0]
        scheme = "http" if config.gateway.tls_cert_path is None else "https"
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return config.gateway.public_url or f"{scheme}://{host}:{address[1]}/"

    def _operator_routes(self, desk: Desk | None, guard: Guard) -> OperatorRoutes | None:
        if desk is None or self._operators is None:
            return None
        rejected = self.clients.metrics.rejected
        refresh = None if self._keys is None else self._keys.refresh
        return OperatorRoutes(desk, self._operators, guard, lambda why: rejected.labels(why).inc(), refresh)

    def announce(self, url: str) -> None:
        """Tell whoever started the process where the page is."""
        sys.stdout.write(f"Serving {self.config.world.name} at {url}\n")
        sys.stdout.flush()

    async def close(self) -> None:
        """Listen no more."""
        await self.observed.close()
        if self._runner is not None:
            await self._runner.cleanup()


def _per_address(config: Config, capacity: int) -> int:
    # Loopback development tools (bots, benchmarks) share one address; the sessions' own limit exempts it as well.
    return capacity if config.gateway.mode == "development" else config.limits.connections_per_address_max


def _tls_at_proxy(config: Config) -> bool:
    # Whoever says that clients come by https, and has no certificate here, says that TLS ends before us.
    return config.gateway.tls_cert_path is None and (config.gateway.public_url or "").startswith("https:")


def _datagrams(config: Config, capacity: int) -> dict[int, Datagrams]:
    """The other transports that are wanted, by carrier. Raises OSError if a port is taken, SetupError."""
    own = config.gateway
    tables: dict[int, Datagrams] = {}
    base = capacity
    if own.datagrams:
        udp = DatagramConfig(
            capacity=capacity,
            host=own.host,
            port=own.port if own.datagrams_port is None else own.datagrams_port,
            advertise=own.advertise_udp,
            buffer_bytes=own.datagrams_buffer_bytes,
            arrivals_max=min(max(1024, 2 * capacity), 8192),
        )
        tables[CARRIER_UDP] = Datagrams(_granted(udp, config), base)
        base += capacity
    if own.webtransport:
        few = min(own.webtransport_sessions_max, capacity)
        table = DatagramConfig(capacity=few, arrivals_max=max(256, 8 * few))
        tables[CARRIER_WEBTRANSPORT] = Datagrams(_granted(table, config), base, way=_webtransport(config))
    return tables


def _granted(table: DatagramConfig, config: Config) -> DatagramConfig:
    """With what the configuration grants each client."""
    limits = config.limits
    return replace(
        table,
        silence_ms=round(limits.heartbeat_s * 1000),
        message_bytes_max=limits.message_bytes_max,
        messages_per_s=limits.messages_per_s,
        message_burst=limits.messages_burst,
    )


def _webtransport(config: Config) -> Callable[[Table], Way]:
    """Raises SetupError."""
    try:
        # An optional extra, and slow to import: only who wants it loads it.
        from server.transport.webtransport.way import WebTransportWay
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("aioquic", "pylsqpack"):
            raise
        raise SetupError(
            "gateway.webtransport needs the package aioquic, which is not installed: run "
            "`pip install 'isthmus[webtransport]'`, or set gateway.webtransport = false"
        ) from error
    own = config.gateway
    settings = WebTransportConfig(
        host=own.host,
        port=own.port if own.webtransport_port is None else own.webtransport_port,
        advertise=own.advertise_webtransport,
    )
    certificates: Certificates = Generated()
    if own.tls_cert_path is not None and own.tls_key_path is not None:
        folder = Path(config.folder)
        try:
            certificates = Own(folder / own.tls_cert_path, folder / own.tls_key_path)
        except ValueError as error:
            raise SetupError(f"gateway.webtransport: {error}") from error
    return lambda table: WebTransportWay(settings, certificates, table)


async def _identity(
    config: Config, cluster_key: bytes | None
) -> tuple[Authenticate, GuestIssuer | None, JwksKeeper | None]:
    """Who is let in: guests in development; in production those with a token of the configured issuer."""
    if config.gateway.mode == "development":
        guests = GuestIssuer(config.world.name, time.time, secrets.token_bytes, cluster_key)
        return authenticator([guests.verifier], time.time), guests, None
    rules = TokenRules(issuer=config.auth.issuer or "", audience=config.auth.audience or "")
    verifier = TokenVerifier(rules, KeySet([]))  # nobody gets in until they are loaded
    source = config.auth.jwks_url
    if source is None:
        source = str(Path(config.folder) / (config.auth.jwks_path or ""))
    keys = JwksKeeper(source, verifier, time.monotonic)
    await keys.load()
    return authenticator([verifier], time.time), None, keys


def _map(place: Place | None) -> dict[str, Resource]:
    if place is None:
        return {}
    out = {}
    for path, file in map_files(place).items():
        caching = "public, max-age=31536000, immutable" if file.immutable else "no-cache"
        out[path.removeprefix("/map/")] = Resource(file.body, file.content_type, file.etag.strip('"'), caching)
    return out


def _static() -> Path:
    return Path(str(files("server"))) / "static"


def _tls(config: Config) -> ssl.SSLContext | None:
    if config.gateway.tls_cert_path is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    folder = Path(config.folder)
    key = config.gateway.tls_key_path
    context.load_cert_chain(folder / config.gateway.tls_cert_path, None if key is None else folder / key)
    return context
