"""Whom the HTTP side answers: Host against DNS rebinding, Origin against other people's pages, addresses behind
proxies.

Pure functions of header values. Invariant: a browser page of another site can neither open a connection nor post, in
development too. Not responsible for: tokens (``server.session``).
"""

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def split_host(value: str) -> tuple[str, int | None] | None:
    """``example.org:8080`` or ``[::1]:80`` → (name in lower case, port or None); None if it is no authority."""
    try:
        parts = urlsplit(f"//{value}")
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not name or parts.path or parts.query or parts.fragment or "@" in value:
        return None
    return name.rstrip("."), port


@dataclass(frozen=True, slots=True)
class Guard:
    """``hosts``: names that this server goes by (any port). ``origins``: other sites' pages that may connect, as
    ``https://name[:port]``. ``proxies``: addresses or networks whose X-Forwarded-For is believed.
    """

    hosts: frozenset[str] = LOOPBACK_HOSTS
    origins: frozenset[str] = frozenset()
    proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    fellows: Callable[[], frozenset[str]] = frozenset
    """Origins of the other gateways of this cluster, as they are now: their pages are ours."""

    @classmethod
    def of(cls, hosts: Iterable[str] = (), origins: Iterable[str] = (), proxies: Iterable[str] = ()) -> "Guard":
        """From configuration; loopback names are always among the hosts. Raises ValueError that names the wrong
        entry."""
        for origin in origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
                raise ValueError(f"origin {origin!r} must look like https://name or http://name:port")
        return cls(
            LOOPBACK_HOSTS | {host.lower().rstrip(".") for host in hosts},
            frozenset(origin.lower().rstrip("/") for origin in origins),
            tuple(ipaddress.ip_network(proxy) for proxy in proxies),
        )

    def host_allowed(self, host: str | None) -> bool:
        """Whether the Host header names this server. A page that rebinds its own name to our address sends its own
        name."""
        parts = split_host(host or "")
        return parts is not None and parts[0] in self.hosts

    def origin_allowed(self, origin: str | None, host: str | None) -> bool:
        """Whether a page of ``origin`` may talk to us: no page at all, our own page, or one that the configuration
        names."""
        if origin is None:
            return True
        if origin.lower() in self.origins or origin.lower() in self.fellows():
            return True
        try:
            parts = urlsplit(origin)
            name, port = parts.hostname, parts.port
        except ValueError:
            return False
        own = split_host(host or "")
        if parts.scheme not in ("http", "https") or not name or own is None:
            return False
        default = _DEFAULT_PORTS[parts.scheme]
        return (name.rstrip("."), port or default) == (own[0], own[1] or default)

    def client_address(self, remote: str | None, forwarded_for: str | None) -> str:
        """The address that limits count by: the nearest one that is not a trusted proxy."""
        hops = [hop.strip() for hop in (forwarded_for or "").split(",") if hop.strip()]
        address = remote or "unknown"
        while hops and self._trusted(address):
            address = hops.pop()
        return address

    def _trusted(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.proxies)
