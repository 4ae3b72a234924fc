"""Relations between options: each rule names both, says why they clash, and what to change.

Decides what a single bound cannot: a value that is right alone and wrong beside another one. Not responsible for:
bounds of single values (``model.py``).
"""

import ipaddress
import os.path
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from isthmus.config.model import BUILT_IN_PLACES, Config
from isthmus.config.problems import Problem

ENTER_REACH_M = 32_767 / 128
"""An enter record holds 16 bits of 1/128 m per axis around its frame's origin (STANDARD.md §4)."""
OUTBOX_BYTES_PER_ENTITY = 128
"""Room for one entity of a first view: its enter record and blob, with reserve for state that follows."""


def broken_relations(config: Config, path: str, is_file: Callable[[str], bool]) -> Iterator[Problem]:
    """All broken relations of ``config``; ``is_file`` says whether a path names a file."""

    def problem(key: str, what: str, remedy: str) -> Problem:
        source = config.sources[key]
        place = path if source == "default" else source
        return Problem(f"{place} {key}", what, remedy)

    yield from _time(config, problem)
    yield from _view(config, problem)
    yield from _channels(config, path)
    yield from _limits(config, problem)
    yield from _exposure(config, problem)
    yield from _cluster(config, problem)
    yield from _durable(config, problem)
    yield from _observed(config, problem)
    yield from _console(config, problem)
    yield from _files(config, problem, is_file)


Report = Callable[[str, str, str], Problem]


def _time(config: Config, problem: Report) -> Iterator[Problem]:
    steps_per_s = config.world.rate_hz * config.world.steps_per_tick
    if not 30 <= steps_per_s <= 240:
        yield problem(
            "world.steps_per_tick",
            f"{config.world.rate_hz} ticks of {config.world.steps_per_tick} steps are {steps_per_s} walk steps per s",
            "choose world.rate_hz and world.steps_per_tick so that their product is 30 to 240 (20 and 3 are usual)",
        )
    if config.limits.heartbeat_s * 1000 < 4 * config.limits.idle_ack_ms:
        yield problem(
            "limits.heartbeat_s",
            f"a client that acknowledges every {config.limits.idle_ack_ms} ms would be closed for silence",
            "make limits.heartbeat_s at least four times limits.idle_ack_ms",
        )


def _view(config: Config, problem: Report) -> Iterator[Problem]:
    view = config.view
    if view.near_radius_m > view.radius_m:
        yield problem(
            "view.near_radius_m",
            f"near ({view.near_radius_m:g} m) lies beyond the view itself ({view.radius_m:g} m)",
            "make view.near_radius_m at most view.radius_m",
        )
    if view.near_tolerance_m > view.far_tolerance_m:
        yield problem(
            "view.near_tolerance_m",
            f"near ones may be further off ({view.near_tolerance_m:g} m) than far ones ({view.far_tolerance_m:g} m)",
            "make view.near_tolerance_m at most view.far_tolerance_m",
        )
    if view.outer_tolerance_m <= view.far_tolerance_m:
        yield problem(
            "view.outer_tolerance_m",
            f"outer ones would have to be as exact as far ones ({view.far_tolerance_m:g} m)",
            "make view.outer_tolerance_m more than view.far_tolerance_m, or view.outer_radius_m at least view.radius_m "
            "and any tolerance above it",
        )
    reach_m = view.radius_m * view.hysteresis_ratio
    if reach_m > ENTER_REACH_M - 2:
        yield problem(
            "view.radius_m",
            f"{view.radius_m:g} m times the hysteresis {view.hysteresis_ratio:g} is {reach_m:.1f} m, more than an "
            f"enter record can express ({ENTER_REACH_M:.0f} m)",
            f"make view.radius_m at most {(ENTER_REACH_M - 2) / view.hysteresis_ratio:.0f}, or lower hysteresis_ratio",
        )


def _durable(config: Config, problem: Report) -> Iterator[Problem]:
    url = config.durable.url
    if url is not None and not re.fullmatch(r"memory:|sqlite:.+|postgres(ql)?://.+", url):
        yield problem(
            "durable.url",
            f"{url!r} names no durable store",
            "write sqlite:PATH, postgresql://user@host/database or memory:",
        )


def _observed(config: Config, problem: Report) -> Iterator[Problem]:
    listen, traces = config.observe.listen, config.tracing.endpoint
    if listen is not None and not (_is_host_and_port(listen) or listen.endswith(":0")):
        yield problem("observe.listen", f"{listen!r} is no address", "write host:port, as 127.0.0.1:9464")
    if traces is not None and not re.fullmatch(r"https?://[^/\s]+/\S+", traces):
        yield problem(
            "tracing.endpoint",
            f"{traces!r} is not where OTLP over HTTP is taken",
            "write http(s)://host:4318/v1/traces",
        )


def _console(config: Config, problem: Report) -> Iterator[Problem]:
    console, gateway = config.console, config.gateway
    given = [f"console.{name}" for name in ("secrets_path", "role") if getattr(console, name) is not None]
    if console.role is not None and gateway.mode == "development":
        yield problem(
            "console.role",
            "in development there are guests alone, and no guest has a role",
            'give console.secrets_path, or set gateway.mode = "production"',
        )
    has_tls = gateway.tls_cert_path is not None or (gateway.public_url or "").startswith("https:")
    if given and not is_loopback(gateway.host) and not has_tls:
        yield problem(
            given[0],
            f"what lets operators in would travel unprotected to {gateway.host}",
            "give gateway.tls_cert_path, or gateway.public_url as https://… if TLS ends at a proxy",
        )


def _channels(config: Config, path: str) -> Iterator[Problem]:
    for index, channel in enumerate(config.channels):
        reach_m = channel.radius_m * config.view.hysteresis_ratio
        if reach_m > ENTER_REACH_M - 2:
            yield Problem(
                f"{path} channel[{index}].radius_m",
                f"{channel.radius_m:g} m times the hysteresis {config.view.hysteresis_ratio:g} is {reach_m:.1f} m, "
                f"more than a record reaches ({ENTER_REACH_M:.0f} m)",
                "make radius_m or view.hysteresis_ratio smaller",
            )


def _limits(config: Config, problem: Report) -> Iterator[Problem]:
    limits = config.limits
    needed_per_s = config.world.rate_hz + 1000 / limits.idle_ack_ms
    if limits.messages_per_s < needed_per_s:
        yield problem(
            "limits.messages_per_s",
            f"a client that sends one input per tick and its acknowledgements needs {needed_per_s:g} messages a second",
            f"make limits.messages_per_s at least {needed_per_s:g}",
        )
    if limits.connections_per_address_max > limits.sessions_max:
        yield problem(
            "limits.connections_per_address_max",
            f"one address may hold more connections than there are sessions ({limits.sessions_max})",
            "make limits.connections_per_address_max at most limits.sessions_max",
        )
    least_bytes = config.view.entities_max * OUTBOX_BYTES_PER_ENTITY
    if config.gateway.outbox_bytes < least_bytes:
        yield problem(
            "gateway.outbox_bytes",
            f"the first view of {config.view.entities_max} entities does not fit",
            f"make gateway.outbox_bytes at least {least_bytes}, or lower view.entities_max",
        )
    planned = config.world.inhabitants_count + config.world.props_count
    if planned > config.shard.entities_max:
        yield problem(
            "shard.entities_max",
            f"inhabitants and props alone are {planned} entities",
            f"make shard.entities_max more than {planned}, or lower the counts in [world]",
        )


def _exposure(config: Config, problem: Report) -> Iterator[Problem]:
    gateway, auth = config.gateway, config.auth
    if gateway.mode == "development" and not is_loopback(gateway.host):
        yield problem(
            "gateway.host",
            f"development mode gives everybody a guest token and {gateway.host} is reachable from outside",
            'listen on 127.0.0.1, or set gateway.mode = "production" with the keys of [auth]',
        )
    if gateway.mode == "production":
        if (auth.jwks_url is None) == (auth.jwks_path is None):
            yield problem(
                "auth.jwks_url",
                "production needs exactly one source of keys, and there are none or two",
                "give auth.jwks_url or auth.jwks_path, not both",
            )
        for key, value in (("auth.issuer", auth.issuer), ("auth.audience", auth.audience)):
            if not value:
                yield problem(
                    key, "production checks this claim of every token", f"give {key} as your issuer writes it"
                )
        if not gateway.allowed_hosts and not is_loopback(gateway.host):
            yield problem(
                "gateway.allowed_hosts",
                "behind a public address the Host header must name us, else a page elsewhere could rebind a name to us",
                'give gateway.allowed_hosts = ["your.name"]',
            )
    if auth.jwks_url is not None:
        url = urlsplit(auth.jwks_url)
        if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname or "")):
            yield problem(
                "auth.jwks_url",
                "keys that travel unprotected can be replaced on the way",
                "give an https URL (http only for a loopback address)",
            )
    for origin in gateway.allowed_origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
            yield problem(
                "gateway.allowed_origins",
                f"{origin!r} is not an origin",
                "write scheme and host only, as https://world.example (a port where it is not the usual one)",
            )
    for proxy in gateway.proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            yield problem("gateway.proxies", str(error), "write addresses or networks, as 10.0.0.7 or 10.0.0.0/8")
    if gateway.public_url is not None:
        parts = urlsplit(gateway.public_url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
            yield problem(
                "gateway.public_url",
                f"{gateway.public_url!r} is not the address of a gateway",
                "write scheme and host only, as https://world.example (a port where it is not the usual one)",
            )
    yield from _datagrams(config, problem)
    if (gateway.tls_cert_path is None) != (gateway.tls_key_path is None):
        given, missing = ("tls_cert_path", "tls_key_path")[:: 1 if gateway.tls_cert_path else -1]
        yield problem(f"gateway.{given}", f"goes with gateway.{missing}", f"give gateway.{missing} too, or neither")


def _datagrams(config: Config, problem: Report) -> Iterator[Problem]:
    gateway = config.gateway
    ports = {}
    for key, wanted, port, advertised in (
        ("datagrams", gateway.datagrams, gateway.datagrams_port, "advertise_udp"),
        ("webtransport", gateway.webtransport, gateway.webtransport_port, "advertise_webtransport"),
    ):
        if port is not None and not 0 <= port <= 65_535:
            yield problem(f"gateway.{key}_port", f"{port} is no UDP port", "give 0 to 65535")
        address = getattr(gateway, advertised)
        if address is not None:
            if not _is_host_and_port(address):
                yield problem(
                    f"gateway.{advertised}",
                    f"{address!r} is no address that a client could send to",
                    "write host:port, as world.example:8080 or [2001:db8::1]:8080",
                )
        elif wanted and gateway.host in ("0.0.0.0", "::"):
            yield problem(
                f"gateway.{key}",
                f"clients cannot send to {gateway.host}, the address of all interfaces",
                f"give gateway.{advertised}, as world.example:8080",
            )
        if wanted:
            ports[key] = gateway.port if port is None else port
    if len(ports) == 2 and ports["datagrams"] and ports["datagrams"] == ports["webtransport"]:
        yield problem(
            "gateway.webtransport_port",
            f"gateway.datagrams has UDP port {ports['datagrams']} already",
            "give gateway.webtransport_port another number",
        )


def _is_host_and_port(address: str) -> bool:
    host, _, port = address.rpartition(":")
    named = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    return bool(named) and (":" not in named or named != host) and port.isdecimal() and 0 < int(port) < 65_536


def _cluster(config: Config, problem: Report) -> Iterator[Problem]:
    own = config.cluster
    for one, other in (("etcd_user", "etcd_password_path"), ("etcd_cert_path", "etcd_key_path")):
        if (getattr(own, one) is None) != (getattr(own, other) is None):
            given, missing = (one, other) if getattr(own, one) is not None else (other, one)
            yield problem(f"cluster.{given}", f"goes with cluster.{missing}", f"give cluster.{missing} too, or neither")
    schemes = set()
    for endpoint in own.etcd_endpoints:
        parts = urlsplit(endpoint)
        schemes.add(parts.scheme)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.path.strip("/"):
            yield problem(
                "cluster.etcd_endpoints", f"{endpoint!r} is not an address of etcd", "write http(s)://host:port"
            )
    if len(schemes) > 1 or ((own.etcd_ca_path or own.etcd_cert_path) and schemes == {"http"}):
        yield problem(
            "cluster.etcd_endpoints",
            "certificates need TLS, and all members of one etcd speak it or none",
            "write https:// in all of cluster.etcd_endpoints",
        )
    if own.namespace is not None and not re.fullmatch(r"/.*[^/].*/", own.namespace):
        yield problem("cluster.namespace", f"{own.namespace!r} does not begin and end with /", "write /isthmus/world/")
    if own.member is not None and not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", own.member):
        yield problem(
            "cluster.member", f"{own.member!r} is not a member's name", "give 1 to 64 letters, digits, . _ or -"
        )
    host, _, port = own.link_listen.rpartition(":")
    unix = own.link_listen.startswith("unix:")
    if not unix and (not host or not port.isdecimal() or int(port) > 65_535):
        yield problem("cluster.link_listen", f"{own.link_listen!r} is no address", "write host:port or unix:path")
    elif not unix and host.strip("[]") in ("0.0.0.0", "::") and own.link_advertise_host is None:
        yield problem(
            "cluster.link_listen",
            "other members cannot reach a link at the address of all interfaces",
            "give cluster.link_advertise_host, as a pod's own address",
        )
    tls = (own.link_ca_path, own.link_cert_path, own.link_key_path)
    if any(tls) and (not all(tls) or own.key_path is not None):
        yield problem(
            "cluster.link_ca_path",
            "links take either a key or mutual TLS, which needs authority, certificate and key",
            "give link_ca_path, link_cert_path and link_key_path and no key_path, or key_path alone",
        )
    if own.region_level_max is not None and own.region_level_max < own.region_level:
        yield problem(
            "cluster.region_level_max",
            f"the smallest regions would be larger than those of region_level, {own.region_level}",
            "raise it to region_level or more, or leave it out",
        )
    if own.region_side_m is not None:
        from cluster.regions import Layout  # loads numpy, which --help should not wait for

        try:
            Layout(own.region_side_m, max(own.region_level, own.region_level_max or 0))
        except ValueError as error:
            yield problem(
                "cluster.region_side_m",
                str(error),
                "lower cluster.region_level and region_level_max, or raise region_side_m",
            )


def _files(config: Config, problem: Report, is_file: Callable[[str], bool]) -> Iterator[Problem]:
    place, replay = config.world.place, config.shard.replay_path
    named = {
        "world.place": None if place in BUILT_IN_PLACES else place,
        "world.behaviours": config.world.behaviours,
        # A trajectory is a folder; the header is written last, so a folder that has one is whole.
        "shard.replay_path": None if replay is None else os.path.join(replay, "header.json"),
        "gateway.tls_cert_path": config.gateway.tls_cert_path,
        "gateway.tls_key_path": config.gateway.tls_key_path,
        "auth.jwks_path": config.auth.jwks_path,
        "cluster.etcd_password_path": config.cluster.etcd_password_path,
        "cluster.etcd_ca_path": config.cluster.etcd_ca_path,
        "cluster.etcd_cert_path": config.cluster.etcd_cert_path,
        "cluster.etcd_key_path": config.cluster.etcd_key_path,
        "cluster.key_path": config.cluster.key_path,
        "cluster.link_ca_path": config.cluster.link_ca_path,
        "cluster.link_cert_path": config.cluster.link_cert_path,
        "cluster.link_key_path": config.cluster.link_key_path,
        "console.secrets_path": config.console.secrets_path,
    }
    for key, name in named.items():
        if name is None:
            continue
        full = os.path.join(config.folder, name)
        if not is_file(full):
            known = f", or take one of {', '.join(BUILT_IN_PLACES)}" if key == "world.place" else ""
            yield problem(key, f"there is no file {full}", f"correct the path; it starts at the world's folder{known}")


def is_loopback(host: str) -> bool:
    """Whether ``host``, a name or an address, can only be reached from this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
