"""Bad networks on virtual time: datagrams that are lost, doubled and overtaken, and a reliable carrier made of such
datagrams.

Decides what happens to each message, from a generator that is given; counts every fault, so that a test can see that
it occurred. Not responsible for: what the messages mean.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.sim.clock import Time

RTO_MS = 200.0
"""First retransmission timeout of the carrier, as of Linux' TCP (RFC 6298 asks for 1 s); it doubles."""
QUEUE_MS = 250.0
"""What a narrow link holds; what would wait longer is dropped, as by a router's queue."""
HEADER_BYTES = 28
"""IPv4 and UDP: they fill a link, too."""


@dataclass(slots=True)
class Faults:
    """Chances for each message and delays in milliseconds; all 0 but the delay: a good network. For datagrams alone:
    ``bytes_per_s`` of each link, 0 for as many as come; ``cut``: nothing passes."""

    loss: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    reset: float = 0.0
    delay_ms: float = 20.0
    jitter_ms: float = 5.0
    bytes_per_s: float = 0.0
    cut: bool = False

    def calm(self) -> None:
        """From now on only the delay is left."""
        self.loss = self.reorder = self.duplicate = self.reset = self.bytes_per_s = 0.0
        self.cut = False


class Datagrams:
    """One direction of an unreliable link."""

    def __init__(
        self,
        clock: Time,
        rng: np.random.Generator,
        faults: Faults,
        counts: Counter[str],
        deliver: Callable[[bytes], None],
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._faults = faults
        self._counts = counts
        self._deliver = deliver
        self._free_ms = 0.0
        """When all that was sent has left a narrow link."""

    def send(self, data: bytes) -> None:
        """Deliver ``data`` once, twice or never."""
        f, rng = self._faults, self._rng
        if f.cut or rng.random() < f.loss:
            self._counts["datagram lost"] += 1
            return
        queued_ms = self._queue(len(data))
        if queued_ms > QUEUE_MS:
            self._counts["datagram beyond the queue"] += 1
            return
        copies = 1
        if rng.random() < f.duplicate:
            self._counts["datagram doubled"] += 1
            copies = 2
        for _ in range(copies):
            delay_ms = f.delay_ms + f.jitter_ms * rng.random() + queued_ms
            if rng.random() < f.reorder:
                self._counts["datagram overtaken"] += 1
                delay_ms += 120.0 * rng.random() + 60.0
            self._clock.after(delay_ms, lambda: self._deliver(data))

    def _queue(self, size: int) -> float:
        """How long a datagram takes to leave a narrow link, behind those before it (ms)."""
        if not self._faults.bytes_per_s:
            return 0.0
        now_ms = self._clock.now_ms
        wait_ms = max(self._free_ms - now_ms, 0.0) + 1000.0 * (size + HEADER_BYTES) / self._faults.bytes_per_s
        if wait_ms <= QUEUE_MS:
            self._free_ms = now_ms + wait_ms
        return wait_ms


class Carrier:
    """One direction of a reliable, ordered carrier over a lossy link, as TCP is: loss becomes delay of all that
    follows."""

    def __init__(
        self,
        clock: Time,
        rng: np.random.Generator,
        faults: Faults,
        counts: Counter[str],
        deliver: Callable[[bytes], None],
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._faults = faults
        self._counts = counts
        self._deliver = deliver
        self._last_ms = 0.0
        self._open = True

    def send(self, data: bytes) -> None:
        """Deliver ``data`` once, behind everything sent before, unless the carrier breaks first."""
        f, rng = self._faults, self._rng
        delay_ms = f.delay_ms + f.jitter_ms * rng.random()
        rto_ms = RTO_MS
        while rng.random() < f.loss:
            self._counts["segment lost"] += 1
            delay_ms += rto_ms
            rto_ms = min(2.0 * rto_ms, 1600.0)
        if rng.random() < f.reorder:
            # A segment that is overtaken holds the others back: the receiver waits for it.
            self._counts["segment overtaken"] += 1
            delay_ms += 3.0 * f.jitter_ms + 10.0
        at_ms = self._clock.now_ms + delay_ms
        if at_ms < self._last_ms:
            self._counts["head of line blocked"] += 1
        self._last_ms = max(self._last_ms, at_ms)
        self._clock.at(self._last_ms, lambda: self._arrive(data))

    def stall(self, ms: float) -> None:
        """Nothing arrives for so long: a tunnel, a frozen receiver."""
        self._counts["stall"] += 1
        self._last_ms = max(self._last_ms, self._clock.now_ms + ms)

    def cut(self) -> None:
        """What is under way never arrives."""
        self._open = False

    def _arrive(self, data: bytes) -> None:
        if self._open:
            self._deliver(data)
