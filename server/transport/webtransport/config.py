"""Limits of WebTransport. All are finite; each says what it protects."""

from dataclasses import dataclass

PATH = "/datagrams"
"""Of the URL that tokens name."""
PACKET_BYTES_MAX = 1252
"""UDP payload that is sent: 1,280, which every path of IPv6 carries (RFC 8200 §5), without its headers. The largest
plaintext (1,171 bytes) fits beside QUIC's own header, tag and frame, whatever the length of connection ids."""


@dataclass(frozen=True, slots=True)
class WebTransportConfig:
    """What one gateway grants browsers over QUIC. Raises ValueError for bounds that contradict each other."""

    host: str = "127.0.0.1"
    port: int = 0
    """UDP; 0 takes a free one."""
    advertise: str | None = None
    """``host:port`` of the URL that tokens name. None: where the socket is bound."""
    buffer_bytes: int = 1 << 20
    """SO_RCVBUF and SO_SNDBUF of the socket."""
    arrivals_max: int = 32
    """Packets that are taken at once before the loop goes on: each costs some 0.1 ms."""
    handshakes_max: int = 64
    """Connections that have not shown their token yet; more are not answered. Each holds some 100 KB."""
    handshakes_per_s: float = 4.0
    """Of one address; a handshake has two first packets, and costs some 3 ms. Beyond it they are not answered."""
    handshake_burst: int = 64
    """An office that comes back at once after a cut."""
    addresses_max: int = 4096
    """Addresses whose handshakes are counted; if there are more, the one seen longest ago is forgotten."""
    proof_s: float = 5.0
    """From the first packet to the token."""
    idle_s: float = 30.0
    """QUIC's own timeout. Silence ends a session long before."""
    stream_bytes_max: int = 16_384
    """Of all QUIC streams of a connection: settings, a request and a token have less than one thousand."""
    waiting_max: int = 64
    """Datagrams that wait for QUIC's congestion control; what comes then is dropped, being older when it left."""

    def __post_init__(self) -> None:
        if min(self.arrivals_max, self.handshakes_max, self.handshake_burst, self.addresses_max, self.waiting_max) < 1:
            raise ValueError("limits of WebTransport must be at least 1")
        if min(self.handshakes_per_s, self.proof_s, self.idle_s) <= 0:
            raise ValueError("handshakes_per_s, proof_s and idle_s must be positive")
