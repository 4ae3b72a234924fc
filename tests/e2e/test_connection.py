"""What becomes of a person whose page or connection is lost, and of one who is refused."""

import json
from pathlib import Path

import msgpack
import pytest
from playwright.sync_api import Browser

from tests.e2e.cable import Cable
from tests.e2e.conftest import Visit
from tests.e2e.served import Served
from tests.e2e.visitor import Visitor, distance

HIDDEN = """
// What browsers do to a hidden page: no drawing, and timers once a second.
const slow = window.setInterval;
window.setInterval = (work, ms, ...rest) => slow(work, Math.max(1000, ms ?? 0), ...rest);
window.requestAnimationFrame = () => 0;
"""
ACK, INPUT = 3, 2


def test_a_reload_gets_the_same_body_back(visit: Visit) -> None:
    anna, bert = visit("Anna"), visit("Bert")
    body = anna.get("body")
    anna.page.keyboard.down("KeyS")
    begin = anna.at
    anna.until("to have walked", lambda: distance(anna.at, begin) > 2)
    anna.page.keyboard.up("KeyS")
    anna.until("to have every command applied", lambda: anna.get("unacknowledged") == 0)
    stood = anna.at
    anna.page.reload()
    anna.arrive()
    assert anna.get("body") == body
    anna.until("to be shown where the body stands", lambda: distance(anna.at, stood) < 0.05)
    assert distance(bert.where(body), stood) < 0.05
    anna.page.keyboard.down("KeyS")
    anna.until("to walk on", lambda: distance(anna.at, stood) > 1)
    anna.page.keyboard.up("KeyS")
    assert anna.errors == bert.errors == []


def test_a_broken_connection_is_mended_with_the_same_body(visit: Visit, cable: Cable) -> None:
    anna, bert = visit("Anna", cable.url), visit("Bert")
    body, session = anna.get("body"), anna.get("session")
    cable.unplug()
    anna.until("to be told", lambda: "connection was lost" in (anna.page.text_content("#banner") or ""))
    assert anna.page.locator("#banner").is_visible()
    bert.ticks_pass(10)
    assert bert.other(body) is not None, "the body waits for its person"
    cable.plug()
    anna.arrive()
    assert (anna.get("body"), anna.get("session")) == (body, session)
    assert not anna.page.locator("#banner").is_visible()
    begin = anna.at
    anna.page.keyboard.down("KeyS")
    bert.until("to see them walk again", lambda: distance(bert.where(body), begin) > 2)
    anna.page.keyboard.up("KeyS")
    anna.until("to have every command applied", lambda: anna.get("unacknowledged") == 0)
    assert anna.get("correctionMaxM") <= 0.05
    assert anna.get("rejected") == bert.get("rejected") == 0


def test_a_server_started_anew_is_joined_again(browser: Browser, tmp_path: Path) -> None:
    first = Served(tmp_path / "first")
    context = browser.new_context()
    try:
        anna = Visitor(context.new_page())
        anna.open(first.url)
        anna.enter("Anna")
        first.end()
        anna.until("to say that the server went", lambda: anna.page.locator("#banner").is_visible())
        second = Served(tmp_path / "second", first.port)
        try:
            anna.arrive()
            anna.until("to be listed", lambda: anna.get("people") == ["Anna"])
        finally:
            second.end()
    finally:
        context.close()
        first.end()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("---", "This name cannot be used. Please choose another. a name needs at least one letter or digit"),
        ("a" * 30, "a name has at most 24 characters"),
        ("admin", "reserved"),
    ],
)
def test_a_refused_name_is_explained_and_another_one_may_be_tried(visit: Visit, name: str, says: str) -> None:
    anna = visit()
    anna.page.get_by_label("Your name").fill(name)
    anna.page.get_by_role("button", name="Enter").click()
    anna.until("to be told why", lambda: says in anna.page.inner_text("#join-message"))
    anna.enter("Anna")
    anna.until("to see the own name", lambda: any(name.startswith("Anna") for name in anna.get("people")))


def test_a_newer_page_of_the_same_person_takes_over(visit: Visit) -> None:
    anna = visit("Anna")
    ticket = anna.page.evaluate("sessionStorage.getItem('isthmus.ticket')")
    again = visit()
    again.page.add_init_script(f"sessionStorage.setItem('isthmus.ticket', {json.dumps(ticket)})")
    again.page.reload()
    again.arrive()
    assert again.get("body") == anna.get("body")
    anna.until("to be told", lambda: "another window" in anna.page.inner_text("#join-message"))
    again.ticks_pass(20)
    assert again.get("state") == "welcomed", "the older page does not fight for the body"


def test_a_hidden_page_says_four_times_a_second_that_it_lives(visit: Visit) -> None:
    anna = visit()
    anna.page.add_init_script(HIDDEN)
    stamps: list[int] = []

    def sent(data: str | bytes) -> None:
        if isinstance(data, bytes) and data[1] in (ACK, INPUT):
            stamps.append(msgpack.unpackb(data)[2 if data[1] == ACK else 3])

    anna.page.on("websocket", lambda socket: socket.on("framesent", sent))
    anna.page.reload()
    anna.page.get_by_label("Your name").fill("Anna")
    anna.page.get_by_role("button", name="Enter").click()
    anna.until("to be welcomed", lambda: anna.get("state") == "welcomed")
    anna.until("forty acknowledgements", lambda: len(stamps) >= 41)
    # The page's own clock, over ten seconds' worth: a single late one on a busy machine does not matter.
    assert (stamps[40] - stamps[0]) / 40 <= 250
