"""The page over WebTransport, in a real Chromium: it plays by datagrams, and goes on without them."""

import socket
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Visit
from tests.e2e.udpcable import UdpCable
from tests.e2e.visitor import Visitor, distance
from tests.integration.server import Server, serving, write_world

DUCKS = 20
TOML = """
[gateway]
webtransport = true
webtransport_port = {port}
advertise_webtransport = "127.0.0.1:{cable}"

[durable]
url = "memory:"
"""


@pytest.fixture(scope="module")
def cable() -> Iterator[UdpCable]:
    cable = UdpCable()
    yield cable
    cable.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, cable: UdpCable) -> Iterator[Server]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        cable.target = free.getsockname()[1]
    toml = TOML.format(port=cable.target, cable=cable.port)
    with serving(write_world(tmp_path_factory.mktemp("webtransport"), toml, DUCKS)) as server:
        yield server


def goes_over(visitor: Visitor) -> None:
    """Wait until the page is carried by datagrams, and says so."""
    visitor.until("to go on over WebTransport", lambda: visitor.get("carrier") == "WebTransport")
    visitor.until("to say so", lambda: visitor.page.text_content("#carrier") == "WebTransport")


def test_the_page_plays_over_datagrams(visit: Visit, served: Server) -> None:
    anna, bert = visit("Anna"), visit("Bert")
    body, session = anna.get("body"), anna.get("session")
    goes_over(anna)
    goes_over(bert)
    assert (anna.get("body"), anna.get("session")) == (body, session)
    sent = served.metric("isthmus_datagrams_sent_total", carrier="webtransport")
    assert sent > 0
    anna.until("to see all ducks and Bert", lambda: len(anna.get("entities")) == DUCKS + 1)
    begin = anna.at
    anna.page.keyboard.down("KeyS")
    bert.until("to see them walk", lambda: distance(bert.where(body), begin) > 2)
    anna.page.keyboard.up("KeyS")
    anna.until("to have every command applied", lambda: anna.get("unacknowledged") == 0)
    bert.until("to see them where they are", lambda: distance(bert.where(body), anna.at) < 0.05)
    anna.say("over the stream")
    bert.hears("over the stream")
    ducks = {duck["id"]: duck["record"] for duck in anna.get("entities") if duck["kind"] == "duck"}
    assert ducks
    anna.ticks_pass(20)
    moved = [duck for duck in anna.get("entities") if duck["id"] in ducks and duck["record"] != ducks[duck["id"]]]
    assert len(moved) > DUCKS / 2, "values come by datagrams"
    assert served.metric("isthmus_datagrams_sent_total", carrier="webtransport") > sent + 20
    assert anna.get("correctionMaxM") <= 0.05
    assert anna.get("rejected") == bert.get("rejected") == 0
    assert anna.errors == bert.errors == []


def test_without_datagrams_the_page_goes_on_and_it_returns_to_them(
    visit: Visit, served: Server, cable: UdpCable
) -> None:
    anna = visit("Anna")
    body, session = anna.get("body"), anna.get("session")
    goes_over(anna)
    cable.unplugged = True
    try:
        anna.until("to be back on WebSocket", lambda: anna.get("carrier") == "WebSocket")
        anna.arrive()
        assert anna.page.text_content("#carrier") == "WebSocket"
        assert "silent" in anna.get("datagramProblem")
        assert (anna.get("body"), anna.get("session")) == (body, session)
        begin = anna.at
        anna.page.keyboard.down("KeyS")
        anna.until("to walk on", lambda: distance(anna.at, begin) > 1)
        anna.page.keyboard.up("KeyS")
        anna.until("to have every command applied", lambda: anna.get("unacknowledged") == 0)
    finally:
        cable.unplugged = False
    goes_over(anna)
    assert (anna.get("body"), anna.get("session")) == (body, session)
    assert anna.get("datagramProblem") is None
    anna.until("to see the ducks", lambda: len(anna.get("entities")) == DUCKS)
    assert anna.get("rejected") == 0
    assert not anna.page.locator("#banner").is_visible()


def test_a_browser_that_never_reaches_the_port_stays_on_websocket(
    visit: Visit, served: Server, cable: UdpCable
) -> None:
    cable.unplugged = True
    try:
        anna = visit("Anna")
        anna.until("to have tried and given up", lambda: anna.get("datagramProblem"))
        assert anna.get("carrier") == "WebSocket"
        anna.ticks_pass(20)
        assert anna.get("state") == "welcomed"
        assert not anna.page.locator("#banner").is_visible()
    finally:
        cable.unplugged = False
