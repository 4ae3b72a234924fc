"""Whether a process lives, is ready, and what it counts: /healthz, /readyz and /metrics of any process.

Decides what is answered: /healthz says 503 when ticks have stopped (a supervisor should start the process again),
/readyz says 503 when nobody should be sent here, and tells ``warnings`` while people are served all the same. Not
responsible for: when a process is ready (its shell), where this is served.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_FRESH = {"Cache-Control": "no-store"}


@dataclass(slots=True)
class Health:
    """``alive``: ticks are made. ``ready``: others may rely on this process. ``exposition``: what /metrics says."""

    alive: Callable[[], bool]
    ready: Callable[[], bool]
    warnings: Callable[[], list[str]]
    exposition: Callable[[], bytes]

    async def healthz(self, _request: web.Request) -> web.Response:
        """200 while ticks are made."""
        if self.alive():
            return _json({"status": "alive"})
        return _json({"error": "stopped", "text": "no tick was made for too long"}, 503)

    async def readyz(self, _request: web.Request) -> web.Response:
        """200 if others may rely on this process."""
        if not self.ready():
            return _json({"error": "starting", "text": "it starts, drains, or has no lease"}, 503, {"Retry-After": "1"})
        warnings = self.warnings()  # no reason to send people away: who is in goes on
        return _json({"status": "ready", "warnings": warnings} if warnings else {"status": "ready"})

    async def metrics(self, _request: web.Request) -> web.Response:
        """For Prometheus."""
        return web.Response(body=self.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST, **_FRESH})

    def serve_on(self, router: web.UrlDispatcher, metrics: bool = True) -> None:
        """Add the routes; ``metrics`` False: figures are shown elsewhere."""
        router.add_get("/healthz", self.healthz)
        router.add_get("/readyz", self.readyz)
        if metrics:
            router.add_get("/metrics", self.metrics)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    base = {"Content-Type": "application/json; charset=utf-8", **_FRESH}
    return web.Response(status=status, body=msgspec.json.encode(value), headers={**base, **(headers or {})})
