"""A session of a real server that goes on over UDP and comes back: welcome, token, structure, values, a walk,
WebSocket again."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from protocol.codes import Close
from protocol.messages import (
    AskDatagrams,
    Bye,
    Say,
    Token,
    Welcome,
    encode_client,
)
from tests.integration.server import Server, serving, write_world
from tests.integration.walker import Walker
from tests.integration.wire import PATIENCE_S, Peer, peer
from tests.udppeer import UdpPeer

DUCKS = 20
TOML = """
[gateway]
datagrams = true
datagrams_port = 0
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(write_world(tmp_path_factory.mktemp("datagrams"), TOML, DUCKS)) as started:
        yield started


class UdpWalker(Walker):
    """Over UDP, with a token."""

    def __init__(self, token: Token, welcome: Welcome) -> None:
        assert token.address is not None
        host, _, port = token.address.rpartition(":")
        self.udp = UdpPeer(token, welcome.session, (host, int(port)))
        super().__init__(self.udp, welcome.resume)

    def close(self) -> None:
        self.udp.close()


async def ask(ws: Peer, server: Server, name: str = "Walker") -> tuple[Token, Welcome]:
    """Join over WebSocket and ask for a token."""
    welcome = await ws.join(await asyncio.to_thread(server.guest, name))
    ws.say(encode_client(AskDatagrams(1)))
    await ws.until(lambda: any(isinstance(message, Token) for message in ws.heard))
    [token] = [message for message in ws.heard if isinstance(message, Token)]
    return token, welcome


async def test_a_session_goes_on_over_udp_and_comes_back(server: Server) -> None:
    async with peer(server.port) as ws:
        token, welcome = await ask(ws, server)
        with closing(UdpWalker(token, welcome)) as walker:
            again = await walker.join()
            assert (again.session, again.body) == (welcome.session, welcome.body)
            assert again.generation > welcome.generation
            assert (await ws.end()).code == Close.REPLACED
            await walker.until(lambda: walker.records.live.sum() == DUCKS)
            begun = walker.x
            await walker.until(lambda: walker.x > begun + 128, walk=True)
            assert (await asyncio.to_thread(server.status))["datagrams"]["connections"] == 1
            walker.way.out.push(encode_client(Say(0, "over the stream")))
            await walker.until(lambda: any(getattr(said, "text", "") == "over the stream" for said in walker.said))
            walked = walker.x
            async with peer(server.port) as back:
                home = await back.join(None, resume=again.resume)
                assert (home.session, home.body) == (welcome.session, welcome.body)
                assert abs(int(back.own["p"][0]) - walked) < 128
                await walker.until(lambda: walker.closing is not None)
                assert walker.closing is not None
                assert walker.closing.code == Close.REPLACED
                await back.until(lambda: back.records.live.sum() == DUCKS)
                back.say(encode_client(Bye()))
                await back.end()


async def test_with_a_fifth_of_all_datagrams_lost_the_world_is_still_whole(server: Server) -> None:
    rng = np.random.default_rng(3)

    def loses(nth: int) -> bool:
        return bool(rng.random() < 0.2)

    async with peer(server.port) as ws:
        with closing(UdpWalker(*await ask(ws, server, "Unlucky"))) as walker:
            await walker.until(lambda: walker.records.live.sum() == DUCKS and walker.lost >= 5, loses=loses)
            begun = walker.x
            await walker.until(lambda: walker.x > begun + 128, walk=True, loses=loses)
            walker.way.out.push(encode_client(Bye()))
            await walker.until(lambda: walker.closing is not None)
    assert await asyncio.to_thread(server.metric, "isthmus_datagrams_sent_total", carrier="udp") > 20
    assert await asyncio.to_thread(server.metric, "isthmus_datagram_tokens_total", answer="given", carrier="udp") >= 1


async def test_a_client_whose_udp_breaks_comes_back_by_websocket(server: Server) -> None:
    async with peer(server.port) as ws:
        token, welcome = await ask(ws, server, "Quiet")
        with closing(UdpWalker(token, welcome)) as walker:
            again = await walker.join()
            assert (await ws.end()).code == Close.REPLACED
    async with peer(server.port) as back:
        home = await back.join(None, resume=again.resume)
        assert home.body == welcome.body
        back.say(encode_client(Bye()))
        await back.end()


async def test_strangers_are_counted_and_not_answered(server: Server) -> None:
    async with peer(server.port) as ws:
        token, _ = await ask(ws, server, "Host")
        assert token.address is not None
        host, _, port = token.address.rpartition(":")
        before = await asyncio.to_thread(
            server.metric, "isthmus_datagrams_dropped_total", carrier="udp", reason="not_sealed"
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.setblocking(False)
            guess = b"\x31" + token.number.to_bytes(4, "little") + (1).to_bytes(8, "little") + bytes(100)
            stranger.sendto(guess, (host, int(port)))
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    dropped = await asyncio.to_thread(
                        server.metric, "isthmus_datagrams_dropped_total", carrier="udp", reason="not_sealed"
                    )
                    if dropped > before:
                        break
            with pytest.raises(BlockingIOError):
                stranger.recv(100)
        ws.say(encode_client(Bye()))
        await ws.end()
