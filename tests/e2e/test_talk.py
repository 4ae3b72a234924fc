"""Chat between pages: with everybody, with those near, with one."""

from tests.e2e.conftest import Visit


def test_people_talk_to_the_world_to_those_near_and_to_one(visit: Visit) -> None:
    anna, bert, cleo = visit("Anna"), visit("Bert Berg"), visit("Cleo")
    anna.until("to know who is here", lambda: {"Bert Berg", "Cleo"} <= set(anna.get("people")))
    bert.until("to know who is here", lambda: {"Anna", "Cleo"} <= set(bert.get("people")))
    anna.say("hello <b>all</b>")
    for one in (anna, bert, cleo):
        assert one.hears("hello <b>all</b>")["name"] == "Anna"
    bert.say("hello Anna")
    assert anna.hears("hello Anna")["scope"] == 0
    bert.say("/near psst")
    assert anna.hears("psst")["scope"] == 1
    anna.say("/w bert berg only for you")
    assert bert.hears("only for you")["scope"] == 2
    bert.say("/w Anna thanks")
    assert anna.hears("thanks")["from"] == bert.get("body")
    anna.say("that was all")
    cleo.hears("that was all")
    assert {"only for you", "thanks"}.isdisjoint(line["text"] for line in cleo.get("chat"))
    anna.say("/w nobody hello")
    anna.until("to be told that nobody has that name", lambda: "Nobody here" in anna.page.inner_text("#chat-lines"))
    assert anna.errors == bert.errors == cleo.errors == []
