"""Limits of datagram connections. All are finite; each says what it protects."""

from dataclasses import dataclass

from protocol import limits

SLOTS_MAX = 65_536
"""A connection's number names its slot with 16 bits."""


@dataclass(frozen=True, slots=True)
class DatagramConfig:
    """What one gateway grants datagram connections. Raises ValueError for bounds that contradict each other."""

    capacity: int = 8192
    """Connections and tokens at once. Their areas are reserved as address space and take memory only when used."""
    host: str = "127.0.0.1"
    port: int = 0
    """UDP; 0 takes a free one."""
    advertise: str | None = None
    """``host:port`` that tokens name. None: where the socket is bound."""
    buffer_bytes: int = 4 << 20
    """SO_RCVBUF and SO_SNDBUF; the system gives less if its net.core.rmem_max and wmem_max are lower."""
    arrivals_max: int = 8192
    """Datagrams that are taken between two ticks; the socket's buffer holds more, the rest is lost."""
    departures_max: int = 256
    """Datagrams that are sealed and sent in one go: what stays in a core's cache."""
    token_ms: int = 10_000
    """A token is good for so long: some tries over a bad network."""
    silence_ms: int = 10_000
    """STANDARD.md §9.3."""
    idle_ms: int = 500
    """Whoever is told nothing else hears that we are there: a client goes back to WebSocket after 3 s of silence."""
    linger_ms: int = 1000
    """How long a closed connection answers with its CLOSE."""
    message_bytes_max: int = limits.MESSAGE_BYTES_MAX
    messages_per_s: float = 60.0
    """Datagrams and messages of one client; more closes with 4102."""
    message_burst: int = 120
    post_bytes_max: int = 49_152
    """So much of a stream may wait, or be unacknowledged, before its client gets no new frames. The stream's window has
    room for messages and one frame beside it; what exceeds it closes the connection with 4002. Of what waits behind a
    large message, which goes through the window in pieces, as much may wait once more."""
    wake_s: float = 0.005
    """Pause between two times that the socket is emptied. Its buffer may hold no more than some hundred datagrams."""

    def __post_init__(self) -> None:
        if not 1 <= self.capacity <= SLOTS_MAX:
            raise ValueError(f"capacity must be from 1 to {SLOTS_MAX} datagram connections")
        if self.post_bytes_max + limits.FRAME_BYTES_MAX > 65_536:
            raise ValueError(
                f"post_bytes_max must be at most {65_536 - limits.FRAME_BYTES_MAX}: a stream holds 65536 bytes"
            )
        if self.arrivals_max < 1 or self.departures_max < 1:
            raise ValueError("arrivals_max and departures_max must be positive")
        if self.messages_per_s <= 0 or self.message_burst < 1:
            raise ValueError("messages_per_s and message_burst must be positive")
