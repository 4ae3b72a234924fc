"""The operators' API of a gateway, ``/api/operator/…`` (docs/CONSOLE.md): JSON over HTTP, for who proves to be an
operator.

Decides routes and statuses. Invariants: nothing is told or done before the Authorization header has proved an operator;
what lets somebody in is never in a URL; a request that changes something is JSON in a POST, of our own pages or no page
at all, so no other site's page can make it. Not responsible for: what is told and done (``Desk``).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from aiohttp import web

from server.console.access import Operator, Operators, Refused
from server.console.atlas import Window
from server.console.requests import BadRequest, Request, read_request
from server.http.answers import error, json_answer
from server.http.guard import Guard
from server.session.identity import KeyUnknown

PREFIX = "/api/operator"
SIDE_M_MAX = 1e6


class Busy(Exception):
    """Too much is being done already."""


class Unwritten(Exception):
    """The log of what operators do cannot be written, so nothing is done."""


class Desk(Protocol):
    """What a gateway tells operators, and does for them."""

    def overview(self, window: Window | None) -> Mapping[str, Any]:
        """Members, regions, the heat in a window (None: the whole world)."""

    def history(self, since: int) -> Mapping[str, Any]:
        """Samples of the last hour from a number on."""

    def people(self, query: str, page: int, size: int) -> Mapping[str, Any]:
        """A page of sessions."""

    def interest(self, session: int, entity: int | None) -> Mapping[str, Any] | None:
        """What a session is told and why; None: this gateway has no such session, or it has no view."""

    def orders(self) -> Mapping[str, Any]:
        """Bans, mutes, profiles and what was changed of them."""

    def log(self, before: int | None, count: int) -> Mapping[str, Any]:
        """The newest entries of the log, or those before one."""

    async def act(self, operator: Operator, request: Request) -> Mapping[str, Any]:
        """Begin what is asked, once it is written down. Raises BadRequest, Busy, Unwritten."""


class OperatorRoutes:
    """``refresh``: fetch the key set anew, for tokens whose key is not known; returns whether it was."""

    def __init__(
        self,
        desk: Desk,
        operators: Operators,
        guard: Guard,
        refused: Callable[[str], None],
        refresh: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._desk, self._operators, self._guard = desk, operators, guard
        self._refused, self._refresh = refused, refresh

    def add_to(self, router: web.UrlDispatcher) -> None:
        """The routes."""
        for path, handler in (
            ("me", self.me),
            ("overview", self.overview),
            ("history", self.history),
            ("sessions", self.sessions),
            ("interest", self.interest),
            ("orders", self.orders),
            ("log", self.log),
        ):
            router.add_get(f"{PREFIX}/{path}", self._for_operators(handler))
        router.add_post(f"{PREFIX}/acts", self._for_operators(self.act))

    def _for_operators(
        self, handler: Callable[[web.Request, Operator], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def checked(request: web.Request) -> web.Response:
            if not self._guard.origin_allowed(request.headers.get("Origin"), request.headers.get("Host")):
                self._refused("origin")
                return error(403, "origin", "pages of this origin may not act for operators")
            try:
                operator = await self._who(request.headers.get("Authorization"))
            except Refused as refusal:
                self._refused(refusal.word)
                headers = {"WWW-Authenticate": 'Bearer realm="operators"'} if refusal.status == 401 else None
                return error(refusal.status, refusal.word, refusal.text, headers)
            try:
                return await handler(request, operator)
            except BadRequest as problem:
                return error(400, "request", str(problem))

        return checked

    async def _who(self, authorization: str | None) -> Operator:
        try:
            return self._operators.of(authorization)
        except KeyUnknown:
            try:
                if self._refresh is not None and await self._refresh():
                    return self._operators.of(authorization)
            except KeyUnknown:
                pass
            raise Refused(401, "token_key", "the token names a key that its issuer does not list") from None

    async def me(self, _request: web.Request, operator: Operator) -> web.Response:
        """Who asks."""
        return json_answer({"name": operator.name, "how": operator.how})

    async def overview(self, request: web.Request, _operator: Operator) -> web.Response:
        """The map."""
        query = request.query
        window = None
        if "side_m" in query:
            side_m = _number(query, "side_m")
            if not 0 < side_m <= SIDE_M_MAX:
                raise BadRequest(f"side_m: above 0 and at most {SIDE_M_MAX:g}")
            window = Window(_number(query, "x_m"), _number(query, "z_m"), side_m)
        return json_answer(self._desk.overview(window))

    async def history(self, request: web.Request, _operator: Operator) -> web.Response:
        """Charts."""
        return json_answer(self._desk.history(_whole(request.query, "since", 0)))

    async def sessions(self, request: web.Request, _operator: Operator) -> web.Response:
        """A page of sessions."""
        query = request.query
        return json_answer(self._desk.people(query.get("q", ""), _whole(query, "page", 0), _whole(query, "size", 50)))

    async def interest(self, request: web.Request, _operator: Operator) -> web.Response:
        """The interest debugger."""
        entity = _whole(request.query, "entity", 0) if "entity" in request.query else None
        told = self._desk.interest(_whole(request.query, "session", 0), entity)
        if told is None:
            return error(
                404, "no_view", "this gateway has no such session with a view: ask the gateway that the list names"
            )
        return json_answer(told)

    async def orders(self, _request: web.Request, _operator: Operator) -> web.Response:
        """What stands."""
        return json_answer(self._desk.orders())

    async def log(self, request: web.Request, _operator: Operator) -> web.Response:
        """What operators did."""
        query = request.query
        before = _whole(query, "before", 0) if "before" in query else None
        return json_answer(self._desk.log(before, _whole(query, "count", 50)))

    async def act(self, request: web.Request, operator: Operator) -> web.Response:
        """Something is to be done; 202: it is written down and begun."""
        # A form of another site can send text/plain without asking; application/json it cannot.
        if request.content_type != "application/json":
            return error(415, "content_type", "send application/json")
        try:
            begun = await self._desk.act(operator, read_request(await request.read()))
        except Busy as problem:
            return error(429, "busy", str(problem), {"Retry-After": "5"})
        except Unwritten as problem:
            return error(503, "log", str(problem))
        return json_answer(begun, 202)


def _number(query: Mapping[str, str], name: str) -> float:
    try:
        value = float(query[name])
    except (KeyError, ValueError):
        raise BadRequest(f"{name}: a number is missing") from None
    if not -SIDE_M_MAX <= value <= SIDE_M_MAX:
        raise BadRequest(f"{name}: within {SIDE_M_MAX:g} m of the origin")
    return value


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 20:
        raise BadRequest(f"{name}: a whole number of at most 20 digits")
    return int(text)
