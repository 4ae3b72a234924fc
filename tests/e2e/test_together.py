"""Two people at two pages, and bots, in one world: they see each other, and each other walk."""

import signal

from tests.e2e.conftest import Visit
from tests.e2e.served import Served, send_bots
from tests.e2e.visitor import Visitor, distance


def test_two_people_see_each_other_with_their_names(visit: Visit) -> None:
    anna, bert = visit("Anna"), visit("Bert")
    _sees(anna, bert, "Bert")
    _sees(bert, anna, "Anna")
    anna.page.get_by_text("People online").click()
    anna.until("the list of people", lambda: anna.page.inner_text("#people").split("\n") == ["Anna (you)", "Bert"])
    assert anna.errors == bert.errors == []


def _sees(one: Visitor, other: Visitor, name: str) -> None:
    body = other.get("body")
    one.until(f"to know {name}'s name", lambda: (one.other(body) or {}).get("name") == name)
    one.until("to list both", lambda: {"Anna", "Bert"} <= set(one.get("people")))
    one.look_at(one.where(body))
    one.until(f"a name tag of {name}", lambda: name in one.tags())
    assert one.about()["rejected"] == 0


def test_one_walks_and_the_other_sees_it(visit: Visit) -> None:
    anna, bert = visit("Anna"), visit("Bert")
    body = anna.get("body")
    begin = bert.where(body)
    assert distance(begin, anna.at) < 0.5
    anna.page.keyboard.down("KeyS")
    bert.until("to see the other three metres on", lambda: distance(bert.where(body), begin) > 3)
    anna.page.keyboard.up("KeyS")
    anna.until("to have every command applied", lambda: anna.get("unacknowledged") == 0)
    bert.until("to see the other where they are", lambda: distance(bert.where(body), anna.at) < 0.02)
    assert anna.get("correctionMaxM") <= 0.05
    assert anna.errors == bert.errors == []


def test_bots_and_inhabitants_are_seen(visit: Visit, served: Served) -> None:
    anna = visit("Anna")
    bots = send_bots(served.url, 5)
    try:
        anna.until("five bots online", lambda: len(anna.get("people")) == 6)
        anna.until("bots in view", lambda: sum(e["kind"] == "person" for e in anna.get("entities")) == 5)
        bot = next(e["id"] for e in anna.get("entities") if e["kind"] == "person")
        begin = anna.where(bot)
        anna.until("a bot to walk", lambda: distance(anna.where(bot), begin) > 1)
    finally:
        bots.send_signal(signal.SIGINT)
        bots.wait(20)
    anna.until("the bots to be gone", lambda: anna.get("people") == ["Anna"])
    inhabitants = [e for e in anna.get("entities") if e["kind"] == "inhabitant"]
    assert all(e["name"] for e in inhabitants)
    assert anna.errors == []
