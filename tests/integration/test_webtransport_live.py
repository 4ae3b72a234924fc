"""A session of a real server that goes on over WebTransport and comes back, by aioquic's client; and what strangers and
clients that break the rules get."""

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
import trustme
from aioquic.quic.events import ConnectionTerminated

from protocol.codes import Close
from protocol.messages import CARRIER_WEBTRANSPORT, AskDatagrams, Bye, Say, Token, Welcome, encode_client
from tests.integration.server import READY_S, REPOSITORY, Server, serving, write_world
from tests.integration.walker import Walker
from tests.integration.wire import PATIENCE_S, Peer, peer
from tests.webtransportpeer import WebTransportPeer, Wire, dialled, opened, proof_of

DUCKS = 20
TOML = """
[gateway]
webtransport = true
webtransport_port = 0
webtransport_sessions_max = 8

[limits]
heartbeat_s = 3

[durable]
url = "memory:"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(write_world(tmp_path_factory.mktemp("webtransport"), TOML, DUCKS)) as started:
        yield started


async def ask(ws: Peer) -> Token:
    """On a welcomed connection: a token for WebTransport."""
    ws.say(encode_client(AskDatagrams(1, CARRIER_WEBTRANSPORT)))
    heard = len(ws.heard)
    await ws.until(lambda: any(isinstance(message, Token) for message in ws.heard[heard:]))
    [token] = [message for message in ws.heard[heard:] if isinstance(message, Token)]
    return token


async def join(ws: Peer, server: Server, name: str) -> tuple[Token, Welcome]:
    """Join over WebSocket and ask for a token."""
    welcome = await ws.join(await asyncio.to_thread(server.guest, name))
    return await ask(ws), welcome


@asynccontextmanager
async def walking(token: Token, welcome: Welcome) -> AsyncIterator[Walker]:
    """A client over WebTransport whose token is shown and whose HELLO is said."""
    async with opened(token) as wire:
        wire.show(proof_of(token))
        yield Walker(WebTransportPeer(wire), welcome.resume)


def dropped(server: Server, reason: str) -> float:
    """Datagrams, packets and connections of WebTransport that were dropped for ``reason``."""
    return server.metric("isthmus_datagrams_dropped_total", carrier="webtransport", reason=reason)


async def counted(server: Server, reason: str) -> float:
    """The same, without holding up the loop."""
    return await asyncio.to_thread(dropped, server, reason)


async def until(condition: Callable[[], object]) -> None:
    """Ask another thread's ``condition`` until it holds: what a server says over HTTP."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await asyncio.to_thread(condition):
                return
            await asyncio.sleep(0.05)


async def end_of(wire: Wire) -> ConnectionTerminated:
    """How the server ends a connection."""
    await wire.until(lambda: wire.ended is not None)
    assert wire.ended is not None
    return wire.ended


async def test_a_session_goes_on_over_webtransport_and_comes_back(server: Server) -> None:
    async with peer(server.port) as ws:
        token, welcome = await join(ws, server, "Walker")
        async with walking(token, welcome) as walker:
            assert isinstance(walker.way, WebTransportPeer)
            assert walker.way.wire.certificate_sha256 in token.certificates
            again = await walker.join()
            assert (again.session, again.body) == (welcome.session, welcome.body)
            assert again.generation > welcome.generation
            assert (await ws.end()).code == Close.REPLACED
            await walker.until(lambda: walker.records.live.sum() == DUCKS)
            begun = walker.x
            await walker.until(lambda: walker.x > begun + 128, walk=True)
            figures = (await asyncio.to_thread(server.status))["webtransport"]
            assert figures["connections"] == 1
            assert figures["out"] > 10
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
                await end_of(walker.way.wire)
                # And there again: a new token, a new connection, the same body.
                token = await ask(back)
                async with walking(token, home) as returned:
                    assert (await returned.join()).body == welcome.body
                    returned.way.out.push(encode_client(Bye()))
                    await returned.until(lambda: returned.closing is not None)


async def test_with_a_fifth_of_all_datagrams_lost_the_world_is_still_whole(server: Server) -> None:
    async with peer(server.port) as ws:
        async with walking(*await join(ws, server, "Unlucky")) as walker:

            def loses(nth: int) -> bool:
                return nth % 5 == 3

            await walker.until(lambda: walker.records.live.sum() == DUCKS and walker.lost >= 5, loses=loses)
            begun = walker.x
            await walker.until(lambda: walker.x > begun + 128, walk=True, loses=loses)
            walker.way.out.push(encode_client(Bye()))
            await walker.until(lambda: walker.closing is not None)
    sent = await asyncio.to_thread(server.metric, "isthmus_datagrams_sent_total", carrier="webtransport")
    assert sent > 20
    given = await asyncio.to_thread(
        server.metric, "isthmus_datagram_tokens_total", answer="given", carrier="webtransport"
    )
    assert given >= 1


async def test_a_token_is_good_once(server: Server) -> None:
    async with peer(server.port) as ws:
        token, welcome = await join(ws, server, "Once")
        async with walking(token, welcome) as walker:
            await walker.join()
            before = await counted(server, "wrong_token")
            async with opened(token) as second:
                second.show(proof_of(token))
                assert "no more" in (await end_of(second)).reason_phrase
            assert await counted(server, "wrong_token") == before + 1
            walker.way.out.push(encode_client(Bye()))  # who had it first is not disturbed
            await walker.until(lambda: walker.closing is not None)


async def test_a_wrong_token_and_a_superseded_one_open_nothing(server: Server) -> None:
    async with peer(server.port) as ws:
        token, welcome = await join(ws, server, "Guesser")
        async with opened(token) as wire:
            wire.show(token.number.to_bytes(4, "little") + bytes(32))
            await end_of(wire)
        newer = await ask(ws)
        async with opened(token) as wire:
            wire.show(proof_of(token))
            await end_of(wire)
        async with walking(newer, welcome) as walker:  # nobody's wrong guess spends it
            await walker.join()
            walker.way.out.push(encode_client(Bye()))
            await walker.until(lambda: walker.closing is not None)


async def test_datagrams_before_the_token_count_for_nothing(server: Server) -> None:
    async with peer(server.port) as ws:
        token, welcome = await join(ws, server, "Hasty")
        before = await counted(server, "unproven")
        async with opened(token) as wire:
            wire.say(bytes(100))
            await until(lambda: dropped(server, "unproven") > before)
            assert not wire.datagrams
            wire.show(proof_of(token))
            walker = Walker(WebTransportPeer(wire), welcome.resume)
            await walker.join()
            walker.way.out.push(encode_client(Bye()))
            await walker.until(lambda: walker.closing is not None)


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        (bytes(4) + b"\x02\xff\xff", "malformed_datagram"),
        (b"\xff\xff\xff\x0f", "forged_received"),
        (bytes(4) + b"\x02\x01\x00\xc1", "malformed"),
    ],
)
async def test_garbage_closes_its_session_and_nobody_elses(server: Server, garbage: bytes, reason: str) -> None:
    async with peer(server.port) as ws, peer(server.port) as other:
        await other.join(await asyncio.to_thread(server.guest, "Bystander"))
        before = await asyncio.to_thread(server.rejected, reason)
        async with walking(*await join(ws, server, "Rude")) as walker:
            welcome = await walker.join()
            assert isinstance(walker.way, WebTransportPeer)
            walker.way.wire.say(b"\x00" * 3)  # too short to be one: dropped
            walker.way.wire.say(bytes(1200))  # too long
            walker.way.wire.say(garbage)
            await walker.until(lambda: walker.closing is not None)
            assert walker.closing is not None
            assert walker.closing.code == Close.PROTOCOL
            await end_of(walker.way.wire)
        assert await asyncio.to_thread(server.rejected, reason) == before + 1
        assert await counted(server, "short") >= 1
        assert await counted(server, "oversized") >= 1
        frames = other.frames
        await other.until(lambda: other.frames > frames + 2)
        async with peer(server.port) as back:
            assert (await back.join(None, resume=welcome.resume)).body == welcome.body


async def test_a_silent_client_is_given_up_and_comes_back_to_its_body(server: Server) -> None:
    async with peer(server.port) as ws:
        async with walking(*await join(ws, server, "Silent")) as walker:
            welcome = await walker.join()
            assert isinstance(walker.way, WebTransportPeer)
            # QUIC itself goes on to answer; only the session says nothing more.
            async with asyncio.timeout(2 * PATIENCE_S):
                await walker.way.wire.wait_closed()
    async with peer(server.port) as back:
        assert (await back.join(None, resume=welcome.resume)).body == welcome.body
        back.say(encode_client(Bye()))
        await back.end()


async def test_a_connection_that_breaks_costs_no_body(server: Server) -> None:
    async with peer(server.port) as ws:
        async with walking(*await join(ws, server, "Torn")) as walker:
            welcome = await walker.join()
            assert isinstance(walker.way, WebTransportPeer)
            walker.way.wire.close()
            await end_of(walker.way.wire)
    await until(lambda: not server.status()["webtransport"]["connections"])  # long before silence would have told
    async with peer(server.port) as back:
        assert (await back.join(None, resume=welcome.resume)).body == welcome.body
        back.say(encode_client(Bye()))
        await back.end()


async def test_what_is_no_session_is_refused(server: Server) -> None:
    async with peer(server.port) as ws:
        token, _ = await join(ws, server, "Other")
        assert token.address is not None
        place = urlsplit(token.address)
        async with dialled(token.address) as wire:
            elsewhere = wire.ask("/elsewhere", place.netloc)
            plain = wire.ask(place.path, place.netloc, b"GET")
            wire.request = wire.ask(place.path, place.netloc)
            second = wire.ask(place.path, place.netloc)
            await wire.until(lambda: len(wire.statuses) == 4)
            assert [wire.statuses[stream] for stream in (elsewhere, plain, second)] == [b"404"] * 3
            assert wire.statuses[wire.request] == b"200"
            wire.show(bytes(20_000))
            await end_of(wire)
            assert await counted(server, "too_many_bytes") + await counted(server, "wrong_token") >= 1
        async with dialled(token.address) as wire:
            assert "no token" in (await end_of(wire)).reason_phrase


async def test_strangers_get_no_more_than_they_send(server: Server) -> None:
    async with peer(server.port) as ws:
        token, _ = await join(ws, server, "Host")
        assert token.address is not None
        place = urlsplit(token.address)
        loop = asyncio.get_running_loop()
        answers: list[bytes] = []

        class Stranger(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                answers.append(data)

        transport, _ = await loop.create_datagram_endpoint(
            Stranger, remote_addr=(place.hostname or "", place.port or 0)
        )
        before = await counted(server, "short_packet"), await counted(server, "handshakes_of_address")
        initial = b"\xc0\x00\x00\x00\x01\x08" + bytes(range(8)) + b"\x00\x00\x44\xb0"
        transport.sendto(b"")
        transport.sendto(b"\x40" + bytes(50))
        transport.sendto(initial)
        sent = 300
        for k in range(sent):
            transport.sendto(initial.replace(bytes(range(8)), k.to_bytes(8, "big")) + bytes(1200 - len(initial)))
            await asyncio.sleep(0)
        await until(lambda: dropped(server, "handshakes_of_address") > before[1])
        transport.close()
        assert await counted(server, "short_packet") > before[0]
        assert len(answers) <= sent
        assert all(len(answer) < 1200 for answer in answers)
        assert (await asyncio.to_thread(server.status))["webtransport"]["connections"] == 0


async def test_the_operators_certificate_is_shown_if_there_is_one(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(tmp_path / "cert.pem", append=True)
    certified = '[gateway]\ntls_cert_path = "cert.pem"\ntls_key_path = "key.pem"'
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with serving(write_world(tmp_path, TOML.replace("[gateway]", certified))) as server:
        asked = Request(server.url + "/api/guest", b'{"name": "Ada"}', {"Content-Type": "application/json"})
        with await asyncio.to_thread(urlopen, asked, context=context) as answer:
            guest = json.loads(answer.read())["token"]
        async with peer(server.port, tls=context) as ws:
            welcome = await ws.join(guest)
            token = await ask(ws)
            assert token.certificates == ()
            async with opened(token, authority.cert_pem.bytes()) as wire:
                wire.show(proof_of(token))
                walker = Walker(WebTransportPeer(wire), welcome.resume)
                assert (await walker.join()).body == welcome.body
                walker.way.out.push(encode_client(Bye()))
                await walker.until(lambda: walker.closing is not None)


def test_without_the_library_a_server_says_what_to_install(tmp_path: Path) -> None:
    program = "import sys; sys.modules['aioquic'] = None; from isthmus.cli import main; main()"
    command = [sys.executable, "-c", program, "serve", str(write_world(tmp_path, TOML)), "--gateway-port", "0"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=READY_S, check=False)
    assert ended.returncode == 78
    assert "isthmus[webtransport]" in " ".join(ended.stderr.split())
