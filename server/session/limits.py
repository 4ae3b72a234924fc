"""Bounds of sessions: how many, how fast, how long. Every one is finite; configuration may set each of them.

Not responsible for: sizes of messages (``protocol.limits``), budgets of bytes (views), ``heard_s`` (the gateway's
clock of arrivals).
"""

from dataclasses import dataclass, fields

from protocol.limits import NAME_CHARS_MAX


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Defaults serve a gateway of some thousand people. Raises ValueError on values that cannot work."""

    sessions_max: int = 5000
    """Sessions in all states, those in their grace included: this bounds memory."""
    joins_queued_max: int = 4096
    """Accepted joins that wait for their turn."""
    joins_per_tick: int = 50
    """Bodies asked of shards in one tick. At 20 Hz 1,000 people who come at once are in after one second."""
    connections_per_address_max: int = 64
    """A school or an office behind one address. Loopback is exempt."""
    hello_timeout_s: float = 5.0
    attach_timeout_s: float = 10.0
    """A shard that has given no body by then is starting or gone: the client comes back later."""
    heartbeat_timeout_s: float = 10.0
    """STANDARD.md §2."""
    resume_grace_s: float = 30.0
    """STANDARD.md §3: a body stays in the world this long after its connection broke."""
    full_retry_s: float = 5.0
    starting_retry_s: float = 1.0
    """Mean retry-after of a refused client; the actual one is between a half and one and a half of it."""
    chat_per_s: float = 1.0
    """Sustained chat lines of one session; with ``chat_burst`` a token bucket."""
    chat_burst: float = 5.0
    chat_strikes_max: float = 10.0
    """Refused lines until the session is closed with 4102; forgiven at ``chat_strikes_forgiven_per_s``."""
    chat_strikes_forgiven_per_s: float = 0.1
    world_chat_per_s: float = 20.0
    """World-wide lines of all sessions together: each goes to everybody, so this bounds the amplification."""
    world_chat_burst: float = 40.0
    acts_per_s: float = 10.0
    """Sustained acts of one session; with ``acts_burst`` a token bucket. Who is faster waits, and at the wire's bound
    of acts that are not answered it may not say more."""
    acts_burst: float = 20.0
    chat_near_radius_m: float = 20.0
    """A voice across a street."""
    presence_interval_s: float = 1.0
    presence_joined_max: int = 50
    presence_left_max: int = 200
    presence_newcomer_max: int = 200
    """Names told to a newcomer at once."""
    name_chars_max: int = NAME_CHARS_MAX
    names_reserved: tuple[str, ...] = ("admin", "administrator", "isthmus", "moderator", "server", "system")

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, (int, float)) and not 0 < value < float("inf"):
                raise ValueError(f"sessions.{f.name} = {value}: must be finite and greater than 0")
        if self.name_chars_max > NAME_CHARS_MAX:
            raise ValueError(f"sessions.name_chars_max = {self.name_chars_max}: the wire allows {NAME_CHARS_MAX}")
        if self.chat_burst < 1 or self.world_chat_burst < 1 or self.acts_burst < 1 or self.chat_strikes_max < 1:
            raise ValueError("sessions: a burst below 1 would refuse every message; set at least 1")
