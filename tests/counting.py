"""Costs are counted, not timed: calls of Python and C functions, and lines of Python that run.

Calls are what sys.setprofile sees; a bare loop over things makes none, so lines (sys.settrace) are counted beside them.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass(slots=True)
class Work:
    """What ran while ``counting`` was entered, in this thread."""

    calls: int = 0
    lines: int = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count. No garbage is collected meanwhile: its callbacks come when they like."""

        def called(frame: FrameType, event: str, argument: object) -> None:
            self.calls += event in ("call", "c_call")

        def traced(frame: FrameType, event: str, argument: object) -> Any:
            self.lines += event == "line"
            return traced

        tracer, collecting = sys.gettrace(), gc.isenabled()
        gc.disable()
        sys.settrace(traced)
        sys.setprofile(called)
        try:
            yield
        finally:
            sys.setprofile(None)
            sys.settrace(tracer)
            if collecting:
                gc.enable()
