"""What a process does when its operator asks over the control socket: give the ticks that it recorded, or sample
itself.

Decides bounds and answers. ``GET /ticks?seconds=S``: a trace (``chrome``). ``POST /flame?seconds=S&rate_hz=R``: counted
stacks. Invariant: nothing here changes the world, and a wrong question gets a sentence. Not responsible for: who may
open the socket (its file's mode), pictures (``isthmus.observe.recording``).
"""

import asyncio
import math
import os
import time
from typing import Any

import msgspec
from aiohttp import web

from isthmus.observe import chrome
from isthmus.observe.clock import unix_of_monotonic_s
from isthmus.observe.sampler import AlreadySampling, Sampler
from isthmus.observe.ticks import Recorder

TICKS_SECONDS = 30.0
FLAME_SECONDS, FLAME_RATE_HZ = 10.0, 100.0


class Control:
    """Of the process called ``name``."""

    def __init__(self, name: str, recorder: Recorder) -> None:
        self._name = name
        self._recorder = recorder
        self._sampler = Sampler()

    async def ticks(self, request: web.Request) -> web.Response:
        """The last ticks."""
        seconds = _number(request, "seconds", TICKS_SECONDS)
        # Tens of thousands of events: the world must not wait for them. What is recorded meanwhile may replace the
        # oldest of them; it takes the place of nothing that is newer.
        return _json(await asyncio.to_thread(self._trace, time.monotonic() - seconds))

    def _trace(self, since_s: float) -> bytes:
        recorder = self._recorder
        ticks, phases, pauses = recorder.recorded(since_s), recorder.phases.recorded(since_s), recorder.pauses(since_s)
        told = chrome.events(self._name, os.getpid(), unix_of_monotonic_s(), recorder.names, ticks, phases, pauses)
        return msgspec.json.encode(told)

    async def flame(self, request: web.Request) -> web.Response:
        """Where the process is, sampled from now on."""
        seconds, rate_hz = _number(request, "seconds", FLAME_SECONDS), _number(request, "rate_hz", FLAME_RATE_HZ)
        try:
            found = await asyncio.to_thread(self._sampler.run, seconds, rate_hz)
        except ValueError as problem:
            return _wrong(400, str(problem))
        except AlreadySampling as problem:
            return _wrong(409, str(problem))
        stacks = [[list(stack), count] for stack, count in found.stacks.items()]
        told = {"name": self._name, "samples": found.samples, "every_s": found.every_s, "stacks": stacks}
        return _json(await asyncio.to_thread(msgspec.json.encode, told))


def routes(router: web.UrlDispatcher, control: Control) -> None:
    """Serve ``control``."""
    router.add_get("/ticks", control.ticks)
    router.add_post("/flame", control.flame)


def _number(request: web.Request, name: str, default: float) -> float:
    text = request.query.get(name)
    try:
        number = default if text is None else float(text)
    except ValueError:
        raise web.HTTPBadRequest(text=f"{name} is not a number") from None
    if not math.isfinite(number):
        raise web.HTTPBadRequest(text=f"{name} is not a finite number")
    return number


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _wrong(status: int, text: Any) -> web.Response:
    return web.Response(status=status, text=f"{text}\n")
