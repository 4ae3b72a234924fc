"""How to reach an etcd, checked when it is made.

Not responsible for: where the values come from (``isthmus.config``).
"""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdConfig:
    """Addresses, identity, time limits. Raises ValueError that names the field and says what to write.

    The time limits fit leases of 3 s: an endpoint that does not answer is given up after ``attempt_timeout_s``, so a
    keep-alive each second still reaches a second one in time.
    """

    endpoints: tuple[str, ...]
    """URLs of the members' client addresses, ``http://`` or ``https://``. One is used until it fails."""
    namespace: str
    """Stands before every key, begins and ends with ``/``: ``/isthmus/<world>/``. Give each world its own."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    """PEM file of the authority that signed the servers' certificates; the system's authorities if not given."""
    cert: Path | None = None
    """PEM file of a client certificate, without CommonName if etcd's authentication is on."""
    key: Path | None = None
    connect_timeout_s: float = 0.7
    attempt_timeout_s: float = 1.0
    """For one request to one endpoint, connecting included."""
    operation_timeout_s: float = 3.0
    """For one call with all its attempts; then StoreUnavailable."""
    retry_min_s: float = 0.05
    """Pause after all endpoints failed once; doubled each round, with jitter."""
    retry_max_s: float = 1.0
    watch_probe_s: float = 3.0
    """A watch that is silent for so long asks its endpoint whether the cluster still serves it."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not self.endpoints:
            raise ValueError("etcd endpoints: give at least one URL, as http://127.0.0.1:2379")
        for endpoint in self.endpoints:
            parts = urlsplit(endpoint)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.path.strip("/"):
                raise ValueError(
                    f"etcd endpoint {endpoint!r}: write it as http(s)://host:port; user and password apart"
                )
        if len({urlsplit(endpoint).scheme for endpoint in self.endpoints}) > 1:
            raise ValueError("etcd endpoints: either all http:// or all https://")
        if self.namespace.strip("/") == "" or not (self.namespace[0] == self.namespace[-1] == "/"):
            raise ValueError(f"etcd namespace {self.namespace!r}: it begins and ends with /, as /isthmus/my-world/")
        if (self.user is None) != (self.password is None):
            raise ValueError("etcd user and password: give both or none")
        if (self.cert is None) != (self.key is None):
            raise ValueError("etcd cert and key: give both files or none")
        if (self.ca or self.cert) and not self.encrypted:
            raise ValueError("etcd ca, cert and key: they need https:// endpoints")
        for name in ("connect_timeout_s", "attempt_timeout_s", "operation_timeout_s", "retry_min_s", "watch_probe_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"etcd {name}: a finite time above 0, not {getattr(self, name)}")
        if not self.retry_min_s <= self.retry_max_s < float("inf"):
            raise ValueError("etcd retry_max_s: a finite time, not below retry_min_s")

    @property
    def encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return urlsplit(self.endpoints[0]).scheme == "https"

    def ssl_context(self) -> ssl.SSLContext | None:
        """For the endpoints; None without TLS. Raises ValueError that names the file that cannot be used."""
        if not self.encrypted:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"etcd ca {self.ca}: no PEM file of certificates ({error})") from error
        if self.cert is not None:
            try:
                context.load_cert_chain(self.cert, self.key)
            except (OSError, ssl.SSLError) as error:
                raise ValueError(f"etcd cert {self.cert}, key {self.key}: no usable pair ({error})") from error
        return context
