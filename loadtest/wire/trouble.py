"""A client's bad line, made in its own shell: which datagrams are lost, when nothing is read and for how long.

Invariant: it depends on the seed, on the count of datagrams and on the times told, not on chance, so a run can be had
again. Not responsible for: what the network itself does; a real one is made with network namespaces (``bench.lossy``).
"""

import numpy as np

from loadtest.scenario import Trouble


class Line:
    """One client's."""

    def __init__(self, trouble: Trouble, rng: np.random.Generator) -> None:
        self._trouble, self._rng = trouble, rng
        self._stall_at_ms: float | None = None
        self.dropped = 0

    def loses(self) -> bool:
        """Whether this datagram gets lost."""
        if self._trouble.loss <= 0.0 or self._rng.random() >= self._trouble.loss:
            return False
        self.dropped += 1
        return True

    def pause_s(self, now_ms: float, size: int) -> float:
        """How long the client reads nothing now that it has read ``size`` bytes."""
        t = self._trouble
        pause_s = size / t.bytes_per_s if t.bytes_per_s else 0.0
        if t.stall_every_s:
            if self._stall_at_ms is None:
                self._stall_at_ms = self._next_ms(now_ms)
            if now_ms >= self._stall_at_ms:
                pause_s += t.stall_s
                self._stall_at_ms = self._next_ms(now_ms + 1000.0 * t.stall_s)
        return pause_s

    def _next_ms(self, now_ms: float) -> float:
        return now_ms + 1000.0 * self._trouble.stall_every_s * float(self._rng.exponential())
