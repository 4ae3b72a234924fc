"""The aiohttp application of a gateway: /ws, health, metrics, the map, guest tokens, status, the page.

Decides routes, caching and security headers; what is said there comes from the callables of ``Services``. Invariants:
every route checks Host; every error is JSON with ``error`` (a stable word) and ``text``; nothing is read from a path
that a client names. Not responsible for: the WebSocket after its upgrade (``server.transport``), who may have a token
(``server.session``).
"""

import gzip
import hashlib
import mimetypes
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from server.http.answers import error, json_answer
from server.http.guard import Guard
from server.http.health import Health
from server.http.operators import OperatorRoutes
from server.metrics import Metrics
from server.transport.accept import Acceptor

_BODY_BYTES_MAX = 4096
_GZIP_LEAST_BYTES = 512
_COMPRESSIBLE = ("text/", "application/json", "application/javascript", "image/svg+xml", "application/vnd.msgpack")
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self' ws: wss:; worker-src 'self' blob:; media-src 'self' blob:; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SECURITY_HEADERS = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), payment=(), usb=()",
}
NO_CONSOLE = "this gateway has no console: give console.secrets_path or console.role (docs/CONSOLE.md)"
_GUIDE_CACHING = "public, max-age=2"
_IMMUTABLE = "public, max-age=31536000, immutable"


class Resource:
    """Bytes served from memory with an ETag, and gzipped once if that makes them smaller."""

    __slots__ = ("cache_control", "content_type", "data", "etag", "gzipped")

    def __init__(
        self, data: bytes, content_type: str, etag: str | None = None, cache_control: str = "no-cache"
    ) -> None:
        self.data = data
        self.content_type = content_type
        self.etag = etag or hashlib.sha256(data).hexdigest()[:32]
        self.cache_control = cache_control
        self.gzipped: bytes | None = None
        if len(data) >= _GZIP_LEAST_BYTES and content_type.startswith(_COMPRESSIBLE):
            packed = gzip.compress(data, 6, mtime=0)
            self.gzipped = packed if len(packed) < len(data) else None

    def respond(self, request: web.Request) -> web.Response:
        """200, or 304 when the client has it (RFC 9110 §13.1.2)."""
        packed = self.gzipped is not None and _accepts_gzip(request)
        # Each encoding is a representation of its own and has its own strong ETag.
        etag = f'"{self.etag}-gz"' if packed else f'"{self.etag}"'
        headers = {"ETag": etag, "Cache-Control": self.cache_control, "Vary": "Accept-Encoding"}
        wanted = request.if_none_match or ()
        if any(tag.value == "*" or tag.value == etag.strip('"') for tag in wanted):
            return web.Response(status=304, headers=headers)
        if packed:
            headers["Content-Encoding"] = "gzip"
        headers["Content-Type"] = self.content_type
        return web.Response(body=self.gzipped if packed else self.data, headers=headers)


def _accepts_gzip(request: web.Request) -> bool:
    for part in request.headers.get("Accept-Encoding", "").lower().split(","):
        name, _, parameters = part.partition(";")
        if name.strip() in ("gzip", "*"):
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


@dataclass(slots=True)
class Services:
    """What the routes need. ``ready``: warm-up is over and a first tick was run. ``map``: path below ``/map/`` → its
    resource. ``issue_guest``: name → token, in development only. ``status``: the summary for ``isthmus top``.
    ``static``: folder of the page. ``warnings``: what an operator should see to, while people are served all the same.
    """

    ready: Callable[[], bool]
    status: Callable[[], Mapping[str, Any]]
    metrics: Metrics
    map: Mapping[str, Resource] = field(default_factory=dict)
    issue_guest: Callable[[str], str | Awaitable[str]] | None = None
    static: Path | None = None
    warnings: Callable[[], list[str]] = list
    alive: Callable[[], bool] = lambda: True
    """Whether ticks are made."""
    exposition: Callable[[], bytes] | None = None
    """What /metrics says; None: it is not served here (``observe.listen``)."""
    channels: Callable[[], list[dict[str, Any]]] = list
    """The guide for televisions."""
    operators: OperatorRoutes | None = None
    """The operators' console, if there is one."""
    webtransport: bool = False
    """Whether the page may go on over WebTransport, at this gateway's address for it or another's."""


def make_app(services: Services, guard: Guard, acceptor: Acceptor | None = None) -> web.Application:
    """The application; ``acceptor`` serves /ws. Raises OSError if the page's files cannot be read."""
    app = web.Application(middlewares=[_checks(guard, services)], client_max_size=_BODY_BYTES_MAX)
    routes = _Routes(services, guard)
    router = app.router
    if acceptor is not None:
        router.add_get("/ws", acceptor.handle)
    told = services.exposition
    health = Health(services.alive, services.ready, lambda: services.warnings(), told or bytes)
    health.serve_on(router, metrics=told is not None)
    router.add_get("/api/status", routes.status)
    router.add_get("/channels.json", routes.channels)
    router.add_post("/api/guest", routes.guest)
    router.add_get("/map/{path:.+}", routes.map)
    if services.operators is not None:
        services.operators.add_to(router)
    router.add_route("*", "/api/operator/{path:.*}", routes.no_console)
    router.add_get("/{path:.*}", routes.page)
    return app


def _checks(guard: Guard, services: Services) -> Any:
    """Middleware: Host on every route, security headers on every answer, JSON for every error."""
    metrics, headers = services.metrics, dict(_SECURITY_HEADERS)
    if services.webtransport:
        headers["Content-Security-Policy"] = _CSP.replace(" ws: wss:;", " ws: wss: https:;")

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        response: web.StreamResponse
        if not guard.host_allowed(request.headers.get("Host")):
            metrics.rejected.labels("host").inc()
            response = error(
                421, "host", "this server does not go by that name: add it to the configuration's list of hosts"
            )
        else:
            try:
                response = await handler(request)
            except web.HTTPException as failure:
                kept = {
                    key: value
                    for key, value in failure.headers.items()
                    if key in ("Allow", "Upgrade", "Sec-WebSocket-Version", "Location")
                }
                word = failure.reason.lower().replace(" ", "_")
                text = (
                    failure.text
                    if failure.text and not failure.text.startswith(str(failure.status))
                    else failure.reason
                )
                response = error(failure.status, word, text, kept)
        if not response.prepared:
            for name, value in headers.items():
                response.headers.setdefault(name, value)
        return response

    return check


class _Routes:
    def __init__(self, services: Services, guard: Guard) -> None:
        self._services = services
        self._guard = guard
        self._page = {} if services.static is None else load_static(services.static)

    async def status(self, _request: web.Request) -> web.Response:
        """What `isthmus top` shows, as JSON: sessions, tick times, traffic; in a cluster members, regions with their
        owners, and the last moves."""
        return json_answer(self._services.status())

    async def channels(self, _request: web.Request) -> web.Response:
        """The guide for televisions: each channel's name, title, what is on and how many watch."""
        # What is on changes by the second, and any number of televisions may ask.
        return json_answer({"channels": self._services.channels()}, headers={"Cache-Control": _GUIDE_CACHING})

    async def guest(self, request: web.Request) -> web.Response:
        """A guest's token for `{"name": "…"}`, sent as application/json: `{"token": "…"}`. In development mode only;
        404 otherwise."""
        issue = self._services.issue_guest
        if issue is None:
            return error(404, "no_guests", "guest tokens exist in development mode only")
        if not self._guard.origin_allowed(request.headers.get("Origin"), request.headers.get("Host")):
            self._services.metrics.rejected.labels("origin").inc()
            return error(403, "origin", "pages of this origin may not ask for tokens")
        # A form of another site can send text/plain without asking; application/json it cannot.
        if request.content_type != "application/json":
            return error(415, "content_type", "send application/json")
        try:
            asked = msgspec.json.decode(await request.read(), type=_GuestRequest)
        except msgspec.MsgspecError as failure:
            return error(400, "malformed", f'send {{"name": "…"}}: {failure}')
        try:
            token = issue(asked.name)
            if not isinstance(token, str):
                token = await token
        except ValueError as failure:
            return error(400, "name", str(failure))
        return json_answer({"token": token})

    async def no_console(self, _request: web.Request) -> web.Response:
        """404: there is no operators' console here, or nothing at this path of it."""
        if self._services.operators is not None:
            return error(404, "not_found", "the operators' API has nothing there")
        return error(404, "no_console", NO_CONSOLE)

    async def map(self, request: web.Request) -> web.Response:
        """The map's index and tiles (MAP.md), with ETag; tiles never change."""
        found = self._services.map.get(request.match_info["path"])
        if found is None:
            return error(404, "not_found", "there is no such part of the map")
        return found.respond(request)

    async def page(self, request: web.Request) -> web.Response:
        """The browser's page and its files; `/tv` is the page for televisions."""
        path = request.match_info["path"] or "index.html"
        if path in ("console", "console.html") and self._services.operators is None:
            return error(404, "no_console", NO_CONSOLE)
        found = self._page.get(path) or self._page.get(f"{path}.html")  # /tv is typed with a remote control
        if found is not None:
            return found.respond(request)
        if path == "index.html":
            return error(404, "no_page", "the page is not built: run `make web`, or use `isthmus bots`")
        return error(404, "not_found", f"nothing is served at /{path[:100]}")


class _GuestRequest(msgspec.Struct, forbid_unknown_fields=True):
    name: str


def load_static(folder: Path) -> dict[str, Resource]:
    """The page's files by their path, read once. Those under ``assets/`` carry a hash in their names and never
    change."""
    found: dict[str, Resource] = {}
    for file in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if not file.is_file() or any(part.startswith(".") for part in file.relative_to(folder).parts):
            continue
        path = file.relative_to(folder).as_posix()
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        if kind == "text/javascript" or kind.startswith("text/"):
            kind += "; charset=utf-8"
        caching = _IMMUTABLE if path.startswith("assets/") else "no-cache"
        found[path] = Resource(file.read_bytes(), kind, cache_control=caching)
    return found
