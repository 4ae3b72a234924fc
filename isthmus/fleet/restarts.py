"""When a child that ended is started again: a pure rule, told what happened and when.

Invariants: the first restart comes at once, so that a crash costs as little as it can; a child that keeps dying waits
longer each time, up to PAUSE_MAX_S; GIVE_UP of them within WINDOW_S end the whole fleet, because then it is not bad
luck. An exit with a status that says "trying again does not help" ends it at the first. Not responsible for: starting
processes.
"""

from collections import deque
from dataclasses import dataclass, field

PAUSE_FIRST_S = 0.5
PAUSE_MAX_S = 10.0
GIVE_UP = 8
WINDOW_S = 60.0
HOPELESS = frozenset({78})
"""EX_CONFIG of sysexits.h."""


@dataclass(slots=True)
class Restarts:
    """One child's ends so far."""

    ended_s: deque[float] = field(default_factory=deque)

    def ended(self, status: int, now_s: float) -> float | None:
        """The child ended with ``status`` (negative: by that signal); returns the pause before its restart in seconds,
        or None: end the fleet."""
        if status in HOPELESS:
            return None
        self.ended_s.append(now_s)
        while now_s - self.ended_s[0] > WINDOW_S:
            self.ended_s.popleft()
        count = len(self.ended_s)
        if count >= GIVE_UP:
            return None
        return 0.0 if count == 1 else min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0 ** (count - 2))
