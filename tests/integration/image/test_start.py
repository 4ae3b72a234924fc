"""What is in the image starts in a read-only root, as any user, and compiles nothing."""

import asyncio
import socket
from pathlib import Path

import aiohttp
import pytest

from isthmus import Client, ClientConfig, Entered, guest_token
from tests.integration.image.built import READY_S, Running, environment, run, started

WORLD = """
[world]
name = "Image"
extent_m = 128
[gateway]
datagrams = true
[durable]
url = "memory:"
"""
BUILD_S = 300
"""The first build on a machine installs everything and compiles all kernels for a CPU that is not its own."""
FEW = """
from isthmus.config.model import Logging
from isthmus.logging import configure
from isthmus.warmup import warm_up
from kernels.warmup import steps
configure(Logging())
warm_up(steps()[:1])
"""


def _tmp(folder: Path) -> Path:
    tmp = folder / "tmp"
    tmp.mkdir()
    return tmp


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def _visit(url: str) -> None:
    """Two people who come, walk and see each other: one by WebSocket alone, one over datagrams."""
    ws = url.replace("http", "ws", 1) + "/ws"
    async with aiohttp.ClientSession() as session:
        tokens = [await guest_token(session, ws, f"Person {k}") for k in range(2)]
    configs = [ClientConfig(url=ws, token=token, datagrams=bool(k)) for k, token in enumerate(tokens)]
    async with Client(configs[0]) as one, Client(configs[1]) as other, asyncio.timeout(READY_S):
        one.core.steer_towards(0.5)
        other.core.steer_towards(2.5)
        async for event in one.events():
            if isinstance(event, Entered) and event.components.get("name") == "Person 1":
                break
        await asyncio.sleep(1.0)


def _written(running: Running) -> list[str]:
    """Compiled kernels in /tmp that are no links into the image."""
    found = list(running.tmp.rglob("*.nb?"))
    assert found, "the links to the image's kernels"
    return [str(path) for path in found if not path.is_symlink()]


@pytest.mark.timeout(BUILD_S)
def test_a_world_is_served_and_nothing_is_compiled(image: Path, tmp_path: Path) -> None:
    world = tmp_path / "world.toml"
    world.write_text(WORLD)
    port = _free_port()
    given = {"ISTHMUS_GATEWAY_PORT": str(port), "ISTHMUS_LOGGING_FORMAT": "json"}
    words = ["isthmus", "serve", "/world/world.toml"]
    with started(words, _tmp(tmp_path), mounts={world: "/world/world.toml"}, variables=given) as server:
        url = f"http://127.0.0.1:{port}"
        server.until_ok(f"{url}/readyz")
        assert server.get(f"{url}/healthz")[0] == 200
        assert b"<script" in server.get(f"{url}/")[1], "the page is in the package"
        (ready,) = server.events("kernels_ready")
        assert ready["compiled"] == 0
        assert ready["loaded"] > 20
        asyncio.run(_visit(url))
        assert _written(server) == [], "what people do needs no kernel that the image lacks"
        assert server.end() == 0
    assert not list(server.tmp.glob("isthmus-kernels-*")), "the links go with the process"


@pytest.mark.timeout(BUILD_S)
def test_any_user_finds_the_kernels(image: Path, tmp_path: Path) -> None:
    done = run(["isthmus", "warmup"], _tmp(tmp_path), user=4242)
    assert done.returncode == 0, done.stdout
    assert '"compiled": 0' in done.stdout


@pytest.mark.timeout(BUILD_S)
def test_the_root_is_read_only(image: Path, tmp_path: Path) -> None:
    words = ["python", "-c", f"open({str(image / 'kernels' / 'new')!r}, 'w')"]
    done = run(words, _tmp(tmp_path))
    assert done.returncode == 1
    assert "Read-only file system" in done.stdout or "Permission denied" in done.stdout


@pytest.mark.timeout(BUILD_S)
def test_a_kernel_that_is_not_there_for_this_cpu_is_counted(image: Path, tmp_path: Path) -> None:
    """So the figure that the other tests look at can be another one; and a missing kernel stops nobody."""
    older = environment()["NUMBA_CPU_FEATURES"].replace("+avx2,", "").replace("+lse,", "")
    assert older != environment()["NUMBA_CPU_FEATURES"]
    done = run(["python", "-c", FEW], _tmp(tmp_path), variables={"NUMBA_CPU_FEATURES": older})
    assert done.returncode == 0, done.stdout
    assert '"compiled": 0' not in done.stdout
    assert '"loaded": 0' in done.stdout


@pytest.mark.timeout(BUILD_S)
def test_a_cpu_that_has_less_is_told_so(image: Path, tmp_path: Path) -> None:
    features = environment()["NUMBA_CPU_FEATURES"] + ",+no-such-unit"
    done = run(["isthmus", "warmup"], _tmp(tmp_path), variables={"NUMBA_CPU_FEATURES": features})
    assert done.returncode == 78
    assert "This CPU has no no-such-unit" in done.stdout
    assert "docs/KUBERNETES.md" in done.stdout
