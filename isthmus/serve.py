"""``isthmus serve``: warm up, put the world together, open the doors, run until a signal comes.

Decides the order of start and end, nothing else: it listens only when everything is in place, and a mistake ends it
before that with an exit status and a sentence. Not responsible for: the tick loop (``isthmus.node``), what is served
(``server.http``).
"""

import asyncio
import gc
import os
import secrets
import signal
import ssl
import sys
import time
from importlib.metadata import version as installed_version
from importlib.resources import files
from pathlib import Path

import structlog
import uvloop
from aiohttp import web
from joserfc.jwk import KeySet
from rich.console import Console

from bridges.tiles import map_files
from isthmus.config import Config
from isthmus.logging import configure
from isthmus.node import Node
from isthmus.status import refresh, status
from isthmus.warmup import warm_up
from isthmus.worlds import Assembly, WorldError, assemble, make_gateway
from server.http.app import Resource, Services, make_app
from server.http.guard import Guard
from server.metrics import Metrics
from server.session.identity import Authenticate
from server.session.jwks import JwksKeeper, JwksUnavailable
from server.session.tokens import GuestIssuer, TokenRules, TokenVerifier, authenticator
from server.transport.accept import Acceptor
from server.transport.carriers import Carriers
from server.transport.config import CarrierConfig, raise_nofile

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
    except WorldError as error:
        sys.exit(_said(str(error), EXIT_WORLD))
    except (OSError, JwksUnavailable) as error:
        sys.exit(_said(str(error), EXIT_UNAVAILABLE))


def _said(text: str, status_code: int) -> int:
    Console(stderr=True).print(f"isthmus: {text}", style="bold red", markup=False)
    return status_code


async def _serve(config: Config, assembly: Assembly) -> None:
    capacity = config.limits.sessions_max + 64  # so that a full world can still say so
    raise_nofile(capacity)
    carriers = Carriers(
        CarrierConfig(
            capacity=capacity,
            message_bytes_max=config.limits.message_bytes_max,
            messages_per_s=config.limits.messages_per_s,
            message_burst=config.limits.messages_burst,
            connections_per_address=_per_address(config, capacity),
        )
    )
    authenticate, guests, keys = await _identity(config)
    gateway = make_gateway(config, assembly.facts, authenticate, secrets.token_bytes, capacity)
    metrics = Metrics()
    metrics.build_info.labels(installed_version("isthmus"), "1").set(1)
    node = Node(
        assembly.shard,
        gateway,
        carriers,
        metrics,
        config.world.rate_hz,
        keys,
        config.limits.admission_load_ratio,
    )
    guard = Guard.of(config.gateway.allowed_hosts, config.gateway.allowed_origins)
    acceptor = Acceptor(carriers, guard)
    services = Services(
        ready=node.started.is_set,
        status=lambda: status(node, config),
        metrics=metrics,
        map=_map(assembly),
        issue_guest=None if guests is None else guests.issue,
        static=_static(),
        refresh_metrics=lambda: refresh(node, acceptor),
    )
    app_runner = web.AppRunner(make_app(services, guard, acceptor), access_log=None)
    await app_runner.setup()
    site = web.TCPSite(app_runner, config.gateway.host, config.gateway.port, ssl_context=_tls(config), backlog=4096)
    await site.start()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, node.stop)
    gc.collect()
    gc.freeze()  # what start-up made lives for ever: the collector need not look at it again
    running = loop.create_task(node.run())
    started = loop.create_task(node.started.wait())
    await asyncio.wait((running, started), return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    address = app_runner.addresses[0]
    scheme = "http" if config.gateway.tls_cert_path is None else "https"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    sys.stdout.write(f"Serving {config.world.name} at {scheme}://{host}:{address[1]}/\n")
    sys.stdout.flush()
    _log.info("ready", world=config.world.name, host=address[0], port=address[1], pid=os.getpid())
    try:
        await running
    finally:
        await app_runner.cleanup()
        _log.info("stopped", tick=node.shard.tick)


def _per_address(config: Config, capacity: int) -> int:
    # Loopback development tools (bots, benchmarks) share one address; the sessions' own limit exempts it as well.
    return capacity if config.gateway.mode == "development" else config.limits.connections_per_address_max


async def _identity(config: Config) -> tuple[Authenticate, GuestIssuer | None, JwksKeeper | None]:
    """Who is let in: guests in development; in production those with a token of the configured issuer."""
    if config.gateway.mode == "development":
        guests = GuestIssuer(config.world.name, time.time, secrets.token_bytes)
        return authenticator([guests.verifier], time.time), guests, None
    rules = TokenRules(issuer=config.auth.issuer or "", audience=config.auth.audience or "")
    verifier = TokenVerifier(rules, KeySet([]))  # nobody gets in until they are loaded
    source = config.auth.jwks_url
    if source is None:
        source = str(Path(config.folder) / (config.auth.jwks_path or ""))
    keys = JwksKeeper(source, verifier, time.monotonic)
    await keys.load()
    return authenticator([verifier], time.time), None, keys


def _map(assembly: Assembly) -> dict[str, Resource]:
    if assembly.place is None:
        return {}
    out = {}
    for path, file in map_files(assembly.place).items():
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
