"""What the core of a process wants done by its shell."""

from dataclasses import dataclass, field

from cluster.asks import Ask
from protocol.carried import Send


@dataclass(slots=True)
class Out:
    """What is to be done: ``asks`` (whose question, the question) to the store, ``sends`` in order."""

    asks: list[tuple[str, Ask]] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
