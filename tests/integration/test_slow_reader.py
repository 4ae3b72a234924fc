"""A reader at 2 KB/s, direct and behind a proxy that buffers: it sees little, but nothing stale, and harms nobody.

The age of what it shows is the server's newest tick, as a fast client beside it knows, minus the tick of the newest
frame that it has read. It is looked at just before each frame is applied, when it is greatest, and after it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from protocol.frames import Frame
from tests.integration.server import Server, serving, write_world
from tests.integration.wire import Ended, peer

BYTES_PER_S = 2000
PIECE_S = 0.05
AGE_MOST_S = 1.5
RATE_HZ = 20
SECONDS = 20
SETTLING_S = 5
"""Until then the server may still be giving it its surroundings; it has never shown anything before the first frame."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(write_world(tmp_path_factory.mktemp("slow"), ducks=400)) as started:
        yield started


class Narrow:
    """Reads from ``source`` at ``BYTES_PER_S``; a Peer may use it as its reader."""

    def __init__(self, source: asyncio.StreamReader) -> None:
        self._source = source
        self._through = asyncio.StreamReader()

    async def run(self) -> None:
        """Until the source ends. Never catches up for time in which nothing came."""
        loop = asyncio.get_running_loop()
        free_s = loop.time()
        while data := await self._source.read(int(BYTES_PER_S * PIECE_S)):
            free_s = max(free_s, loop.time() - PIECE_S) + len(data) / BYTES_PER_S
            await asyncio.sleep(free_s - loop.time())
            self._through.feed_data(data)
        self._through.feed_eof()

    async def readexactly(self, n: int) -> bytes:
        return await self._through.readexactly(n)


@asynccontextmanager
async def buffering_proxy(port: int) -> AsyncIterator[int]:
    """A TCP proxy that takes from the server whatever it gives, at once, and has no bound; yields its port."""
    held: list[asyncio.StreamWriter] = []

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                sink.write(data)  # never drained: the proxy buffers
        except ConnectionError:
            pass  # either side may break it
        sink.close()

    async with asyncio.TaskGroup() as tasks:

        async def connect(near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
            far_reader, far = await asyncio.open_connection("127.0.0.1", port)
            held.extend((near, far))
            tasks.create_task(carry(near_reader, far))
            tasks.create_task(carry(far_reader, near))

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.create_task(connect(reader, writer))

        listener = await asyncio.start_server(accepted, "127.0.0.1", 0)
        try:
            yield listener.sockets[0].getsockname()[1]
        finally:
            for writer in held:
                writer.transport.abort()
            listener.close()
            await listener.wait_closed()


@pytest.mark.parametrize("behind_proxy", [False, True], ids=["direct", "proxy"])
async def test_a_slow_reader_never_shows_a_state_older_than_the_promise(server: Server, behind_proxy: bool) -> None:
    ages_s: list[float] = []
    loop = asyncio.get_running_loop()
    async with (
        buffering_proxy(server.port) as proxy,
        peer(server.port) as fast,
        peer(proxy if behind_proxy else server.port) as slow,
        asyncio.TaskGroup() as tasks,
    ):
        await fast.join(server.guest("Fast"))

        async def follow() -> None:
            while True:
                if isinstance(await fast.take(), Frame):
                    fast.ack()

        following = tasks.create_task(follow())
        token = await asyncio.to_thread(server.guest, "Slow")
        narrow = Narrow(slow.reader)
        slow.reader = narrow  # type: ignore[assignment]
        narrowing = tasks.create_task(narrow.run())

        async def heartbeat() -> None:
            while True:
                await asyncio.sleep(0.25)
                if slow.welcome is not None:
                    slow.ack()

        beating = tasks.create_task(heartbeat())
        slow.hello(token)
        began_s = loop.time()
        rss_bytes, frames_before, sampled_s = 0, 0, began_s
        while loop.time() - began_s < SECONDS:
            try:
                data = await slow.message()
            except Ended as ended:
                raise AssertionError(f"the slow reader was closed: {ended}") from None
            before = slow.records.tick
            block = slow.apply(data)
            if not isinstance(block, Frame):
                continue
            slow.ack()
            if before:
                ages_s.append((fast.records.tick - before) / RATE_HZ)
            ages_s.append((fast.records.tick - block.tick) / RATE_HZ)
            if not rss_bytes and loop.time() - began_s > SETTLING_S:
                rss_bytes, frames_before, sampled_s = server.rss_bytes(), fast.frames, loop.time()
        grown = server.rss_bytes() - rss_bytes
        fast_rate = (fast.frames - frames_before) / (loop.time() - sampled_s)
        for task in (following, narrowing, beating):
            task.cancel()
    assert len(ages_s) > 2 * SECONDS, "it was given something"
    assert max(ages_s) <= AGE_MOST_S, sorted(ages_s)[-10:]
    assert grown < 4 << 20
    assert fast_rate > 0.9 * RATE_HZ, "the others get every frame"
    assert slow.records.live.sum() > 20, "and in time it sees something"
