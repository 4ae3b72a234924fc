"""Limits of the transport. All are finite; each says what it protects."""

import resource
from dataclasses import dataclass

from kernels.wsparse import CONTROL_BYTES_MAX, HEADER_BYTES_MAX
from protocol import limits

_FD_RESERVE = 256
"""Descriptors for everything that is not a client: listeners, database, log files, the page's visitors."""


@dataclass(frozen=True, slots=True)
class CarrierConfig:
    """What one gateway grants its connections. Raises ValueError for bounds that contradict each other."""

    capacity: int = 8192
    """Connections at once. Their areas are reserved as address space and take memory only when used."""
    message_bytes_max: int = limits.MESSAGE_BYTES_MAX
    rx_bytes: int = 8192
    """Receive area of a connection: a whole fragmented message and the next raw frame."""
    tx_bytes: int = 49_152
    """What may wait for a slow client: ``post_bytes_max`` of messages and then one tick's frame."""
    post_bytes_max: int = 32_768
    """Queued messages beyond this close the connection with 4002."""
    messages_per_s: float = 60.0
    """A headset says 45: INPUT and POSE 20 times a second, and ACKs. More closes with 4102."""
    message_burst: int = 120
    """What a client may say at once after a pause, e.g. when its network held its packets back."""
    connections_per_address: int = 64
    """A household or an office behind one address. Raise it for a proxy or a load test."""
    notsent_lowat_bytes: int = 16_384
    """TCP_NOTSENT_LOWAT: what the kernel may hold unsent, so that backpressure shows early."""
    user_timeout_ms: int = 20_000
    """TCP_USER_TIMEOUT: how long sent data may stay unacknowledged before the connection counts as broken."""
    linger_s: float = 1.0
    """How long a closing connection may take to read its close code."""
    mute_s: float = 0.055
    """Pause between a poll, a tick's too, and the next wake-up by messages: a little more than a tick at 20 Hz.
    Each tick reads everything anyway and inputs count only there, while a wake-up between two ticks costs some 0.5 ms
    whatever it brings. What does not wait for a tick by nature (chat, pings) waits so long at most; it is also the
    most by which a measured round trip is too long."""

    tls_at_proxy: bool = False
    """Whether connections without TLS of our own come from a proxy that ends theirs."""

    def __post_init__(self) -> None:
        least = self.message_bytes_max + 2 * HEADER_BYTES_MAX + CONTROL_BYTES_MAX
        if self.rx_bytes < least:
            raise ValueError(f"rx_bytes must be at least {least} for messages of {self.message_bytes_max} bytes")
        if self.tx_bytes < self.post_bytes_max + limits.FRAME_BYTES_MAX:
            raise ValueError(f"tx_bytes must be at least post_bytes_max + {limits.FRAME_BYTES_MAX} (one frame)")
        if not 1 <= self.capacity < 2**24:
            raise ValueError("capacity must be from 1 to 16777215 connections")
        if self.messages_per_s <= 0 or self.message_burst < 1:
            raise ValueError("messages_per_s and message_burst must be positive")


def raise_nofile(connections: int) -> int:
    """Raise the soft RLIMIT_NOFILE so that ``connections`` clients fit; returns the limit in force.

    Raises OSError, saying what to do, if the hard limit is too low.
    """
    needed = connections + _FD_RESERVE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return soft
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise OSError(
            f"{connections} connections need {needed} file descriptors, but this process may have {hard} at most: "
            f"raise the limit (ulimit -Hn {needed}; LimitNOFILE={needed} in systemd) or lower the capacity to "
            f"{hard - _FD_RESERVE}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return needed
