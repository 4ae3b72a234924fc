"""The operators' API over real sockets: nothing without a proof, nothing by another site's page, clear errors."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from prometheus_client import generate_latest

from server.console.access import Operator, Operators, read_secrets
from server.console.atlas import Window
from server.console.requests import KickSession, Request
from server.http.app import Services, make_app
from server.http.guard import Guard
from server.http.operators import Busy, OperatorRoutes, Unwritten
from server.metrics import Metrics
from server.session.identity import Identity, KeyUnknown

SECRET = "s" * 32
PROOF = {"Authorization": f"Bearer {SECRET}"}
READS = ("me", "overview", "history", "sessions", "interest?session=5", "orders", "log")


class Desk:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.fails: Exception | None = None

    def overview(self, window: Window | None) -> Mapping[str, Any]:
        self.asked.append(("overview", window))
        return {"world": "test"}

    def history(self, since: int) -> Mapping[str, Any]:
        self.asked.append(("history", since))
        return {}

    def people(self, query: str, page: int, size: int) -> Mapping[str, Any]:
        self.asked.append(("people", query, page, size))
        return {"sessions": []}

    def interest(self, session: int, entity: int | None) -> Mapping[str, Any] | None:
        self.asked.append(("interest", session, entity))
        return None if session == 404 else {"session": str(session)}

    def orders(self) -> Mapping[str, Any]:
        return {}

    def log(self, before: int | None, count: int) -> Mapping[str, Any]:
        self.asked.append(("log", before, count))
        return {"entries": []}

    async def act(self, operator: Operator, request: Request) -> Mapping[str, Any]:
        if self.fails is not None:
            raise self.fails
        self.asked.append((operator.name, request))
        return {"number": 1}


class World:
    """A console, and whether the token's key is known by now."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.metrics = Metrics()
        self.is_key_known = False
        self.refreshed = 0

    def authenticate(self, token: str | None) -> Identity:
        if not self.is_key_known:
            raise KeyUnknown
        return Identity("i", "s", "Ada", frozenset({"operator"}))

    async def refresh(self) -> bool:
        self.refreshed += 1
        self.is_key_known = self.refreshed > 1
        return True

    def app(self) -> Any:
        guard = Guard.of()
        operators = Operators(read_secrets(f"ada {SECRET}"), "operator", self.authenticate)
        count = self.metrics.rejected
        routes = OperatorRoutes(self.desk, operators, guard, lambda why: count.labels(why).inc(), self.refresh)
        services = Services(ready=lambda: True, status=dict, metrics=self.metrics, operators=routes)
        return make_app(services, guard)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def client(world: World) -> AsyncIterator[ClientSession]:
    async with TestServer(world.app()) as server:
        async with ClientSession(server.make_url("/api/operator/")) as session:
            yield session


@pytest.mark.parametrize("path", READS)
async def test_nothing_is_told_without_a_proof_and_a_url_proves_nothing(
    client: ClientSession, world: World, path: str
) -> None:
    joint = "&" if "?" in path else "?"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": f"secret={SECRET}"}):
        async with client.get(f"{path}{joint}authorization={SECRET}&token={SECRET}", headers=headers) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
            told = await response.json()
            assert told["error"] in ("operator_unknown", "operator_secret")
            assert SECRET not in told["text"]
    async with client.get(path, headers=PROOF) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    exposed = generate_latest(world.metrics.registry).decode()
    assert 'isthmus_rejected_total{reason="operator_unknown"}' in exposed


async def test_another_sites_page_can_do_nothing_even_with_the_secret(client: ClientSession, world: World) -> None:
    act = {"do": "kick", "session": "5"}
    headers = {**PROOF, "Origin": "https://evil.example"}
    async with client.post("acts", json=act, headers=headers) as response:
        assert response.status == 403
    async with client.post("acts", data="{}", headers={**PROOF, "Content-Type": "text/plain"}) as response:
        assert response.status == 415
    async with client.options("acts", headers={"Origin": "https://evil.example"}) as response:
        assert "Access-Control-Allow-Origin" not in response.headers
    assert world.desk.asked == []


async def test_an_act_is_read_checked_and_begun(client: ClientSession, world: World) -> None:
    async with client.post("acts", json={"do": "kick", "session": "5", "reason": "rude"}, headers=PROOF) as response:
        assert (response.status, await response.json()) == (202, {"number": 1})
    assert world.desk.asked == [("ada", KickSession("5", "rude"))]
    async with client.post("acts", json={"do": "explode"}, headers=PROOF) as response:
        assert response.status == 400
        assert "explode" in (await response.json())["text"]
    for problem, status in ((Busy("wait"), 429), (Unwritten("no disk"), 503)):
        world.desk.fails = problem
        async with client.post("acts", json={"do": "kick", "session": "5"}, headers=PROOF) as response:
            assert (response.status, (await response.json())["text"]) == (status, str(problem))


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("overview?x_m=-5&z_m=2.5&side_m=64", ("overview", Window(-5.0, 2.5, 64.0))),
        ("history?since=12", ("history", 12)),
        ("sessions?q=anna&page=2&size=10", ("people", "anna", 2, 10)),
        ("interest?session=181604184430540&entity=7", ("interest", 181604184430540, 7)),
        ("log?before=9&count=3", ("log", 9, 3)),
    ],
)
async def test_questions_are_read(client: ClientSession, world: World, path: str, asked: tuple[Any, ...]) -> None:
    async with client.get(path, headers=PROOF) as response:
        assert response.status == 200
    assert world.desk.asked == [asked]


@pytest.mark.parametrize(
    "path",
    [
        "overview?side_m=64",
        "overview?x_m=0&z_m=0&side_m=0",
        "overview?x_m=nan&z_m=0&side_m=64",
        "overview?x_m=1e300&z_m=0&side_m=64",
        "history?since=-1",
        "sessions?page=x",
        "interest?session=" + "9" * 21,
        "interest?session=٣",
    ],
)
async def test_a_bad_question_says_what_to_mend(client: ClientSession, path: str) -> None:
    async with client.get(path, headers=PROOF) as response:
        assert response.status == 400
        assert (await response.json())["text"]


async def test_a_session_without_a_view_here_is_not_found(client: ClientSession) -> None:
    async with client.get("interest?session=404", headers=PROOF) as response:
        assert (response.status, (await response.json())["error"]) == (404, "no_view")
    async with client.get("nothing", headers=PROOF) as response:
        assert response.status == 404


async def test_a_token_whose_key_is_new_has_the_keys_fetched_once(client: ClientSession, world: World) -> None:
    proof = {"Authorization": "Bearer a.b.c"}
    async with client.get("me", headers=proof) as response:
        assert (response.status, (await response.json())["error"]) == (401, "token_key")
    async with client.get("me", headers=proof) as response:
        assert (response.status, await response.json()) == (200, {"name": "Ada", "how": "token"})
    assert world.refreshed == 2


async def test_without_a_console_there_is_nothing_to_find() -> None:
    services = Services(ready=lambda: True, status=dict, metrics=Metrics())
    async with TestServer(make_app(services, Guard.of())) as server, ClientSession(server.make_url("/")) as session:
        for path in ("console", "console.html", "api/operator/me"):
            async with session.get(path, headers=PROOF) as response:
                assert response.status == 404
                assert "console.secrets_path" in (await response.json())["text"]
