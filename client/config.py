"""What a client wants, and what it counts. Not responsible for: doing it (``core``)."""

from dataclasses import dataclass

from protocol.layouts import PROTOCOL_VERSIONS


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """What a client wants. ``token``: as issued by the server or an identity provider; None where none is needed."""

    url: str
    name: str | None = None
    token: str | None = None
    profile: str = "desktop"
    agent: str = "isthmus-python"
    input_hz: float = 20.0
    """Commands per second while moving; each lasts as many walk steps as have become due."""
    ack_ms: float = 200.0
    """Longest silence towards the server (it asks for at most ``idle_ack_ms`` in the welcome)."""
    predict: bool = True
    """Predict the own body. Without it, ``position`` is what the server said last: half the CPU of a bot."""
    events: bool = True
    """Report entities that enter, leave and change. Without it, look into ``records``."""
    silence_ms: float = 5000.0
    """A server says something each second; after this long a link counts as broken."""
    connect_ms: float = 10_000.0
    """A link that is not welcomed by then counts as broken."""
    datagrams: bool = False
    """Go on over UDP where the server offers it (STANDARD.md §9), and back to WebSocket where it does not work."""
    datagram_silence_ms: float = 3000.0
    """A link over datagrams that says nothing for so long, or is not welcomed by then, does not work."""
    versions: tuple[int, int] = PROTOCOL_VERSIONS
    """Oldest and newest version of the wire that it says it speaks; less than all of them to try an upgrade."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.input_hz <= 60.0:
            raise ValueError(f"input_hz must be from 1 to 60, got {self.input_hz}")
        if not 20.0 <= self.ack_ms <= 250.0:
            raise ValueError(f"ack_ms must be from 20 to 250 (four times a second, STANDARD.md §2), got {self.ack_ms}")


@dataclass(slots=True)
class ClientStats:
    """Counts since the start; ``correction_m_max`` leaves out what something else than commands moved."""

    frames: int = 0
    structures: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    inputs: int = 0
    welcomes: int = 0
    resumes: int = 0
    losses: int = 0
    violations: int = 0
    corrections: int = 0
    correction_m_sum: float = 0.0
    correction_m_max: float = 0.0
    pushes: int = 0
    datagram_welcomes: int = 0
    """How often this client went on over datagrams."""
    fallbacks: int = 0
    """How often it went back to WebSocket because they worked no longer."""
