"""Which code a running process is in: a thread that looks at its stacks some hundred times a second, for some seconds.

Decides how: ``sys._current_frames`` from a thread of our own, so that nothing is installed in the code that is looked
at, and nothing is slower before and after. (pyinstrument hooks every call of the thread that it profiles; py-spy needs
ptrace, which containers do not grant, and works from outside where it is.) Invariants: bounded in time, rate, depth and
number of stacks; one at a time. What it cannot see: inside compiled kernels and C, whose time is their caller's; and a
thread is only looked at when it lets the interpreter go, after 5 ms at the latest. Not responsible for: pictures
(``flame``).
"""

import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import CodeType, FrameType

from isthmus.observe.flame import Stack

SECONDS_MAX = 60.0
RATE_MAX_HZ = 250.0
DEPTH_MAX = 128
STACKS_MAX = 20_000
TOO_MANY: Stack = ("(more stacks than are kept)",)


class AlreadySampling(Exception):
    """Somebody else has asked for samples of this process, and they are not ready yet."""


@dataclass(slots=True)
class Samples:
    """``stacks``: how often each was seen, outermost frame first, behind the name of its thread."""

    stacks: Counter[Stack] = field(default_factory=Counter)
    samples: int = 0
    every_s: float = 0.0


class Sampler:
    """Of this process. ``run`` in a thread of its own (it blocks)."""

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._names: dict[CodeType, str] = {}
        self._draw = random.Random()

    def run(self, seconds: float, rate_hz: float) -> Samples:
        """Look for ``seconds``. Raises ValueError beyond the bounds, AlreadySampling."""
        if not 0 < seconds <= SECONDS_MAX:
            raise ValueError(f"seconds: more than 0 and at most {SECONDS_MAX:g}")
        if not 1 <= rate_hz <= RATE_MAX_HZ:
            raise ValueError(f"rate: from 1 to {RATE_MAX_HZ:g} Hz")
        if not self._busy.acquire(blocking=False):
            raise AlreadySampling("somebody samples this process already: ask again when that is over")
        try:
            return self._run(seconds, rate_hz)
        finally:
            self._names.clear()
            self._busy.release()

    def _run(self, seconds: float, rate_hz: float) -> Samples:
        found = Samples(every_s=1.0 / rate_hz)
        begun_s = time.monotonic()
        while time.monotonic() < begun_s + seconds:
            self._look(found)
            # Not evenly: the process ticks evenly, and a sampler in step with it would see the same moment each time.
            time.sleep(found.every_s * self._draw.uniform(0.5, 1.5))
        return found

    def _look(self, found: Samples) -> None:
        found.samples += 1
        threads = {thread.ident: thread.name for thread in threading.enumerate()}
        own = threading.get_ident()
        for ident, frame in sys._current_frames().items():
            if ident != own:
                stack = (threads.get(ident, "a thread of a library"), *self._stack(frame))
                if stack not in found.stacks and len(found.stacks) >= STACKS_MAX:
                    stack = TOO_MANY
                found.stacks[stack] += 1

    def _stack(self, frame: FrameType | None) -> list[str]:
        stack: list[str] = []
        while frame is not None and len(stack) < DEPTH_MAX:
            code = frame.f_code
            name = self._names.get(code)
            if name is None:
                short = "/".join(code.co_filename.rsplit("/", 2)[-2:])
                name = self._names[code] = f"{code.co_qualname} ({short}:{code.co_firstlineno})"
            stack.append(name)
            frame = frame.f_back
        return stack[::-1]
