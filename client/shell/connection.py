"""Runs a client core on asyncio: one WebSocket connection (or socket for datagrams) for each link, one timer, and the
map over HTTP.

aiohttp is imported when a client is started, so that importing ``client`` stays light. Invariants: bytes are given to
the core in the order in which they arrived; a failed task ends the client's ``async with`` with its exception.
Not responsible for: any rule (``client.core``).
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit, urlunsplit

from client.config import ClientConfig
from client.core import ABNORMAL, ClientCore
from client.events import ClientEvent, Closed, Connect, Disconnect, Send, Welcomed
from client.shell.acting import Awaited
from client.shell.datagrams import DatagramRun, Order
from client.tiles import MapError, MapIndex, add_tile, decode_index
from client.walk import Ground
from protocol.layouts import SUBPROTOCOL
from protocol.limits import SERVER_MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    import aiohttp
    import numpy as np
    import numpy.typing as npt

MAP_RADIUS_M = 200.0
MAP_NEAR_M = 20.0
MAP_EVERY_S = 1.0
MAP_AGAIN_S = 5.0
LEAVE_S = 2.0
"""How long leaving may take before connections are dropped."""


def now_ms() -> float:
    """The clock of all clients of this process."""
    return time.monotonic() * 1000.0


def ws_url(url: str) -> str:
    """The WebSocket address of a server's page; an address that is one already is kept."""
    parts = urlsplit(url)
    if parts.scheme in ("ws", "wss"):
        return url
    return urlunsplit(("wss" if parts.scheme == "https" else "ws", parts.netloc, "/ws", "", ""))


def http_url(ws_url: str, path: str) -> str:
    """The HTTP address of ``path`` at the host of a WebSocket address; an absolute ``path`` is returned as it is."""
    if "://" in path:
        return path
    parts = urlsplit(ws_url)
    return urlunsplit(("https" if parts.scheme == "wss" else "http", parts.netloc, path, "", ""))


async def guest_token(session: "aiohttp.ClientSession", ws_url: str, name: str) -> str:
    """A guest's token from a server in development mode. Raises RuntimeError if the server issues none."""
    async with session.post(http_url(ws_url, "/api/guest"), json={"name": name}) as answer:
        if answer.status != 200:
            text = (await answer.text())[:200]
            raise RuntimeError(f"the server issues no guest tokens ({answer.status} {text}): give a token of your own")
        return str((await answer.json())["token"])


async def fetch(session: "aiohttp.ClientSession", url: str) -> bytes:
    """The body of a GET. Raises MapError unless it is 200."""
    async with session.get(url) as answer:
        if answer.status != 200:
            raise MapError(f"{url}: HTTP {answer.status}")
        return await answer.read()


async def whole_map(session: "aiohttp.ClientSession", ws_url: str, path: str) -> tuple[MapIndex, Ground]:
    """The index and all tiles: for programs with many clients, which share the ground."""
    index = decode_index(await fetch(session, http_url(ws_url, path)))
    ground = index.ground()
    for x, z in sorted(index.tiles):
        add_tile(ground, await fetch(session, http_url(ws_url, index.tile_path(x, z))), index.grid_per_m)
    return index, ground


class Links:
    """Does what one core asks for. ``tasks`` owns the tasks; ``woke`` is called when the core has heard something."""

    def __init__(
        self, session: "aiohttp.ClientSession", core: ClientCore, tasks: asyncio.TaskGroup, woke: Callable[[], None]
    ) -> None:
        self._session = session
        self._core = core
        self._tasks = tasks
        self._woke = woke
        self._out: dict[int, asyncio.Queue[Order]] = {}
        self._running: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        """How many links have not ended."""
        return len(self._out)

    def perform(self) -> None:
        """Carry out what the core wants now."""
        for action in self._core.take_actions():
            match action:
                case Connect(link, url, token):
                    self._out[link] = asyncio.Queue()
                    run = self._run(link, url) if token is None else self._run_datagrams(action)
                    task = self._tasks.create_task(run)
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)
                case Send(link):
                    if link in self._out:
                        self._out[link].put_nowait(action)
                case Disconnect(link):
                    if link in self._out:
                        self._out[link].put_nowait(None)

    def abort(self) -> None:
        """Drop all links at once, also those that are still being opened."""
        for task in self._running:
            task.cancel()

    async def _run(self, link: int, url: str) -> None:
        import aiohttp

        core = self._core
        code, text = ABNORMAL, "no connection"
        try:
            async with self._session.ws_connect(
                url,
                protocols=(SUBPROTOCOL,),
                compress=0,
                max_msg_size=SERVER_MESSAGE_BYTES_MAX,
                timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
            ) as socket:
                self._tasks.create_task(self._write(socket, self._out[link]))
                core.opened(link, now_ms())
                self._woke()
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.BINARY:
                        core.receive(link, message.data, now_ms())
                        self._woke()
                code, text = socket.close_code or ABNORMAL, "the connection ended"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            text = str(error) or type(error).__name__
        finally:
            self._out.pop(link).put_nowait(None)
        core.closed(link, code, text, now_ms())
        self._woke()

    async def _run_datagrams(self, connect: Connect) -> None:
        link, text = connect.link, "the link was closed"
        try:
            await DatagramRun(self._core, connect, self._out[link], now_ms, self._woke).run()
        except (OSError, ValueError) as error:
            text = str(error) or type(error).__name__
        finally:
            del self._out[link]
        self._core.closed(link, ABNORMAL, text, now_ms())
        self._woke()

    async def _write(self, socket: "aiohttp.ClientWebSocketResponse", out: "asyncio.Queue[Order]") -> None:
        import aiohttp

        try:
            while isinstance(order := await out.get(), Send):
                await socket.send_bytes(order.data)
            await socket.close()
        except (aiohttp.ClientError, OSError):
            # The reader of the same socket sees its end and reports it.
            await socket.close()


class Client:
    """One client in a program: ``async with Client(config) as me``. ``me.core`` is asked for everything else.

    The map near the body is loaded while it walks (``config.predict``). Leaving the block leaves the world.
    """

    def __init__(self, config: ClientConfig) -> None:
        self.core = ClientCore(config, random.Random().random)
        self.map_problem: str | None = None
        """Why the map is not there at present; the body is then shown where the server says."""
        self._wake = asyncio.Event()
        self._acts = Awaited()
        self._heard: asyncio.Queue[ClientEvent] = asyncio.Queue()
        self._group = asyncio.TaskGroup()
        self._pump: asyncio.Task[None] | None = None
        self._links: Links | None = None
        self._session: aiohttp.ClientSession | None = None
        self._map: asyncio.Task[None] | None = None

    def steer(self, move_x: float, move_z: float, yaw: float = 0.0, pitch: float = 0.0, buttons: int = 0) -> None:
        """As :meth:`ClientCore.steer`, at once."""
        self.core.steer(move_x, move_z, yaw, pitch, buttons)
        self._wake.set()

    def say(self, text: str) -> bool:
        """A chat line to the world; False if there is no connection."""
        said = self.core.say(text)
        self._wake.set()
        return said

    def watch(self, name: str | None = None, behind_s: int = 0) -> None:
        """As :meth:`ClientCore.watch`, at once."""
        self.core.watch(name, behind_s)
        self._wake.set()

    async def act(self, name: str, payload: Any = None) -> Any:
        """Ask for an action of the world and wait for what it answers; it is done once, whatever happens to the
        connection. Raises ActRefusedError with the reason, ActLostError if nobody can know what came of it, ValueError
        for a payload that cannot be said. At most 16 wait at a time, the others for their turn."""
        return await self._acts.act(self.core, name, payload, self._wake)

    def others(self) -> "tuple[npt.NDArray[np.uint64], npt.NDArray[np.float64]]":
        """Ids and positions (metres, [n, 3]) of all others, now."""
        return self.core.others(now_ms())

    async def events(self) -> AsyncIterator[ClientEvent]:
        """What happens, until the session is closed for good (the last event is then Closed)."""
        while True:
            event = await self._heard.get()
            yield event
            if isinstance(event, Closed):
                return

    async def __aenter__(self) -> Self:
        import aiohttp

        self._session = await aiohttp.ClientSession().__aenter__()
        await self._group.__aenter__()
        self._pump = self._group.create_task(self._run(self._session))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        if not self.core.done:
            self.core.leave()
        self._wake.set()
        if self._pump is not None:
            # A task group whose body failed ends its tasks at once; BYE should go out before that.
            await asyncio.wait({self._pump}, timeout=LEAVE_S)
            if self._links is not None:
                self._links.abort()
        try:
            await self._group.__aexit__(kind, error, trace)
        finally:
            await self._session.close()

    async def _run(self, session: "aiohttp.ClientSession") -> None:
        core = self.core
        links = self._links = Links(session, core, self._group, self._wake.set)
        core.start(now_ms())
        while True:
            core.advance(now_ms())
            links.perform()
            for event in core.take_events():
                self._acts.heard(event)
                self._heard.put_nowait(event)
                if isinstance(event, Welcomed) and event.welcome.map and core.config.predict:
                    self._follow_map(session, event.welcome.map)
            if core.done and not links.open:
                break
            wait_s = (core.next_ms() - now_ms()) / 1000.0
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0.001, wait_s) if not core.done else 1.0)
            self._wake.clear()
        if self._map is not None:
            self._map.cancel()

    def _follow_map(self, session: "aiohttp.ClientSession", path: str) -> None:
        if self._map is None or self._map.done():
            self._map = self._group.create_task(self._load_map(session, path))

    async def _load_map(self, session: "aiohttp.ClientSession", path: str) -> None:
        """Keep the tiles around the body loaded. What goes wrong is told in ``map_problem`` and tried again: tiles of
        an old version are gone when the map was renewed."""
        import aiohttp

        while not self.core.done:
            try:
                await self._follow_body(session, path)
            except (MapError, aiohttp.ClientError, OSError, TimeoutError) as error:
                self.map_problem = str(error) or type(error).__name__
                self.core.set_ground(None)
                await asyncio.sleep(MAP_AGAIN_S)

    async def _follow_body(self, session: "aiohttp.ClientSession", path: str) -> None:
        core, url = self.core, self.core.url
        index = decode_index(await fetch(session, http_url(url, path)))
        ground, held = index.ground(), set[tuple[int, int]]()
        while not core.done:
            place = core.position
            if place is not None:
                missing = [t for t in index.tiles_near(place[0], place[2], MAP_RADIUS_M) if t not in held]
                if any(t in missing for t in index.tiles_near(place[0], place[2], MAP_NEAR_M)):
                    core.set_ground(None)  # MAP.md §4: no prediction where a tile is missing
                for tile in missing:
                    add_tile(ground, await fetch(session, http_url(url, index.tile_path(*tile))), index.grid_per_m)
                    held.add(tile)
                core.set_ground(ground)
                self.map_problem = None
            await asyncio.sleep(MAP_EVERY_S if place is not None else 0.05)
