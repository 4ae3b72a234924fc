"""The HTTP side over real sockets: who is answered, with what caching, and how errors look."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from prometheus_client import generate_latest

from server.http.app import Resource, Services, make_app
from server.http.guard import Guard
from server.metrics import Metrics


class World:
    ready = False


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Isthmus</title>")
    (tmp_path / "tv.html").write_text("<!doctype html><title>Television</title>")
    (tmp_path / "assets" / "index-1a2b.js").write_text("export const a = 1;\n" * 200)
    (tmp_path / ".secret").write_text("no")
    return tmp_path


@pytest.fixture
def services(page: Path) -> Services:
    World.ready = False

    def issue(name: str) -> str:
        if name == "root":
            raise ValueError("this name is taken")
        return f"token of {name}"

    metrics = Metrics()
    tile = Resource(b"tile" * 1000, "application/vnd.msgpack", "abc")
    return Services(
        ready=lambda: World.ready,
        status=lambda: {"tick": 7, "sessions": 2},
        metrics=metrics,
        exposition=lambda: generate_latest(metrics.registry),
        map={"index": Resource(b"{}", "application/json"), "3/4": tile},
        issue_guest=issue,
        static=page,
    )


@pytest.fixture
async def client(services: Services) -> AsyncIterator[ClientSession]:
    async with TestServer(make_app(services, Guard.of(["world.example"]))) as server:
        async with ClientSession(server.make_url("/")) as session:
            yield session


async def test_health_and_readiness(client: ClientSession, services: Services) -> None:
    async with client.get("/healthz") as response:
        assert response.status == 200
    async with client.get("/readyz") as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert (await response.json())["error"] == "starting"
    World.ready = True
    async with client.get("/readyz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ready"})
    services.warnings = lambda: ["the durable store is away"]
    async with client.get("/readyz") as response:  # who is in stays in
        assert response.status == 200
        assert (await response.json())["warnings"] == ["the durable store is away"]


async def test_every_route_checks_host(client: ClientSession, services: Services) -> None:
    for path in ("/", "/healthz", "/metrics", "/api/status", "/map/index", "/ws", "/nowhere"):
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost@evil.example", ""):
            async with client.get(path, headers={"Host": host}) as response:
                assert response.status in (400, 421), (path, host)
    async with client.get("/healthz", headers={"Host": "World.Example:8443"}) as response:
        assert response.status == 200
    assert services.metrics.registry.get_sample_value("isthmus_rejected_total", {"reason": "host"})


async def test_metrics_and_status(client: ClientSession, services: Services) -> None:
    services.metrics.pace.ticks.inc(3)
    async with client.get("/metrics") as response:
        assert "isthmus_ticks_total 3.0" in await response.text()
    async with client.get("/api/status") as response:
        assert await response.json() == {"tick": 7, "sessions": 2}


async def test_the_page_and_its_headers(client: ClientSession) -> None:
    async with client.get("/") as response:
        assert "Isthmus" in await response.text()
        assert response.headers["Cache-Control"] == "no-cache"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    async with client.get("/assets/index-1a2b.js") as response:
        assert "immutable" in response.headers["Cache-Control"]
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.content_type == "text/javascript"
        assert len(await response.text()) == 4000
    for path in ("/tv", "/tv.html"):
        async with client.get(path) as response:
            assert "Television" in await response.text()
    for path in ("/.secret", "/../.secret", "/assets", "/missing", "/tv/"):
        async with client.get(path) as response:
            assert (response.status, (await response.json())["error"]) == (404, "not_found")
            assert "Content-Security-Policy" in response.headers


async def test_map_tiles_are_cached_by_etag(client: ClientSession) -> None:
    async with client.get("/map/3/4", headers={"Accept-Encoding": "identity"}) as response:
        assert (response.status, await response.read()) == (200, b"tile" * 1000)
        assert response.headers["ETag"] == '"abc"'
        assert "Content-Encoding" not in response.headers
    async with client.get("/map/3/4") as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert await response.read() == b"tile" * 1000
        etag = response.headers["ETag"]
    async with client.get("/map/3/4", headers={"If-None-Match": etag}) as response:
        assert (response.status, await response.read()) == (304, b"")
    async with client.get("/map/9/9") as response:
        assert response.status == 404


async def test_guest_tokens(client: ClientSession) -> None:
    async with client.post("/api/guest", json={"name": "Ada"}) as response:
        assert (response.status, await response.json()) == (200, {"token": "token of Ada"})
        assert response.headers["Cache-Control"] == "no-store"
    refused: list[tuple[dict[str, Any], int, str]] = [
        ({"json": {"name": "root"}}, 400, "name"),
        ({"json": {"name": 5}}, 400, "malformed"),
        ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, "malformed"),
        ({"data": b'{"name":"a"}', "headers": {"Content-Type": "text/plain"}}, 415, "content_type"),
        ({"json": {"name": "x" * 5000}}, 413, "request_entity_too_large"),
        ({"json": {"name": "a"}, "headers": {"Origin": "https://evil.example"}}, 403, "origin"),
        ({"json": {"name": "a"}, "headers": {"Origin": "null"}}, 403, "origin"),
    ]
    for request, status, word in refused:
        async with client.post("/api/guest", **request) as response:
            assert (response.status, (await response.json())["error"]) == (status, word)
    async with client.get("/api/guest") as response:
        assert response.status == 404
    async with client.delete("/map/index") as response:
        assert (response.status, (await response.json())["error"]) == (405, "method_not_allowed")


async def test_without_guests_and_without_a_page(services: Services, tmp_path: Path) -> None:
    services.issue_guest, services.static = None, tmp_path / "not built"
    async with TestServer(make_app(services, Guard())) as server, ClientSession(server.make_url("/")) as client:
        async with client.post("/api/guest", json={"name": "a"}) as response:
            assert (response.status, (await response.json())["error"]) == (404, "no_guests")
        async with client.get("/") as response:
            assert (response.status, (await response.json())["error"]) == (404, "no_page")


async def test_a_failing_service_is_a_plain_500(services: Services) -> None:
    def broken() -> dict[str, object]:
        raise RuntimeError("inside")

    services.status = broken
    async with TestServer(make_app(services, Guard())) as server, ClientSession(server.make_url("/")) as client:
        async with client.get("/api/status") as response:
            assert response.status == 500
            assert "inside" not in await response.text()
        await asyncio.sleep(0)
