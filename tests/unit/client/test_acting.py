"""Acts of a client: numbered, bounded, said again after a lost connection, and lost with the body that did them."""

import asyncio
from typing import Any

import pytest

from client import ActAnswered, ActLost, ActLostError, ActRefusedError, Client, ClientConfig, TooManyActsError
from client.core import ClientCore
from client.events import ClientEvent, Connect, Disconnect, Send
from client.shell.acting import Awaited
from protocol.acting import Act, Answer
from protocol.limits import ACTS_UNANSWERED_MAX
from protocol.messages import Hello, Move, decode_client, encode_server
from tests.unit.client.one_body import welcome
from tests.unit.client.test_connection import Door, door


class Talk:
    """A client core, and what it says on each of its links."""

    def __init__(self) -> None:
        self.core = ClientCore(ClientConfig(url="ws://a/ws", name="Ada", token="t"), lambda: 0.5)
        self.now_ms = 1000.0
        self.links: list[int] = []
        self.said: dict[int, list[Any]] = {}
        self.dropped: list[int] = []
        self.events: list[ClientEvent] = []
        self.sseq = 0
        self.core.start(self.now_ms)
        self.turn()

    def turn(self) -> None:
        for action in self.core.take_actions():
            match action:
                case Connect(link, _):
                    self.links.append(link)
                    self.core.opened(link, self.now_ms)
                    self.turn()
                case Send(link, data):
                    self.said.setdefault(link, []).append(decode_client(data))
                case Disconnect(link):
                    self.dropped.append(link)
        self.events += self.core.take_events()

    def hear(self, message: Any, link: int | None = None) -> None:
        self.core.receive(self.links[-1] if link is None else link, encode_server(message), self.now_ms)
        self.turn()

    def welcome(self, **changes: Any) -> None:
        self.sseq = 0
        self.hear(welcome(**changes))

    def answer(self, number: int, code: int = 0, value: Any = None) -> None:
        self.sseq += 1
        self.hear(Answer(number, code, value, self.sseq))

    def lose(self) -> None:
        """The connection breaks, and another one is made."""
        self.core.closed(self.links[-1], 1006, "", self.now_ms)
        self.now_ms += 20_000.0
        self.core.advance(self.now_ms)
        self.turn()

    @property
    def acts(self) -> list[tuple[int, str]]:
        """Number and name of those on the newest link."""
        return [(act.number, act.name) for act in self.said.get(self.links[-1], []) if isinstance(act, Act)]

    @property
    def outcomes(self) -> list[ClientEvent]:
        return [event for event in self.events if isinstance(event, ActAnswered | ActLost)]


def test_an_act_is_said_at_once_and_its_answer_reported() -> None:
    talk = Talk()
    talk.welcome(acted=4)
    key = talk.core.act("buy", {"what": "apple"})
    talk.turn()
    assert talk.acts == [(5, "buy")]
    talk.answer(5, 0, 17)
    assert talk.outcomes == [ActAnswered(key, 0, 17)]


def test_what_is_asked_before_the_welcome_is_said_after_it() -> None:
    talk = Talk()
    talk.core.act("a")
    talk.turn()
    assert talk.acts == []
    talk.welcome(acted=9)
    talk.core.act("b")
    talk.turn()
    assert isinstance(talk.said[talk.links[-1]][0], Hello)
    assert talk.acts == [(10, "a"), (11, "b")]


def test_what_is_not_answered_is_said_again_before_anything_new() -> None:
    talk = Talk()
    talk.welcome()
    keys = [talk.core.act(name) for name in "abc"]
    talk.turn()
    talk.answer(1)
    talk.lose()
    keys.append(talk.core.act("d"))
    talk.turn()
    assert talk.acts == []
    talk.welcome(acted=2)
    assert talk.acts == [(2, "b"), (3, "c"), (4, "d")]
    for number in (2, 3, 4):
        talk.answer(number, 0, number)
    assert talk.outcomes == [ActAnswered(keys[0], 0, None), *(ActAnswered(keys[n - 1], 0, n) for n in (2, 3, 4))]


def test_it_is_said_at_the_next_gateway_too() -> None:
    talk = Talk()
    talk.welcome()
    talk.core.act("a")
    talk.hear(Move("ws://b/ws", b"go", 1000, sseq=1))
    talk.core.act("b")
    talk.turn()
    talk.welcome(resume=b"other")
    assert talk.acts == [(1, "a"), (2, "b")]
    assert talk.dropped == [talk.links[0]]


@pytest.mark.parametrize("other", [{"body": 4711}, {"session": 6, "acted": 0}], ids=["body", "session"])
def test_what_a_body_did_that_is_gone_is_lost_and_not_said_again(other: dict[str, Any]) -> None:
    talk = Talk()
    talk.welcome()
    keys = [talk.core.act(name) for name in "ab"]
    talk.turn()
    talk.answer(1)
    talk.lose()
    talk.core.act("c")
    talk.welcome(**other)
    assert talk.outcomes == [ActAnswered(keys[0], 0, None), ActLost(keys[1])]
    number = 1 if "session" in other else 3
    assert talk.acts == [(number, "c")], "what was not said before is said for the first time"


def test_a_program_that_began_anew_goes_on_after_what_was_taken() -> None:
    talk = Talk()
    talk.welcome(acted=7)
    talk.core.act("a")
    talk.turn()
    talk.answer(8)
    talk.lose()
    talk.welcome(acted=8)
    talk.core.act("b")
    talk.turn()
    assert talk.acts == [(9, "b")]


def test_not_more_than_may_wait_are_taken() -> None:
    talk = Talk()
    talk.welcome()
    for _ in range(ACTS_UNANSWERED_MAX):
        talk.core.act("a")
    with pytest.raises(TooManyActsError):
        talk.core.act("a")
    talk.turn()
    talk.answer(1)
    talk.core.act("a")
    talk.turn()
    assert talk.acts[-1] == (ACTS_UNANSWERED_MAX + 1, "a")


@pytest.mark.parametrize(
    ("name", "payload"),
    [("", None), ("x" * 65, None), ("a", object()), ("a", {1: 2}), ("a", "x" * 4000), ("a", 1 << 70), ("a", (1,))],
    ids=["empty", "long", "object", "key", "large", "wide", "tuple"],
)
def test_what_cannot_be_said_is_the_programs_mistake(name: str, payload: Any) -> None:
    talk = Talk()
    talk.welcome()
    with pytest.raises(ValueError, match=r"\w"):
        talk.core.act(name, payload)
    talk.turn()
    assert talk.acts == []


@pytest.mark.parametrize("number", [1, 3])
def test_an_answer_out_of_order_is_a_broken_server(number: int) -> None:
    talk = Talk()
    talk.welcome()
    talk.core.act("a")
    talk.core.act("b")
    talk.turn()
    talk.answer(1)
    talk.answer(number)
    assert talk.core.stats.violations == 1
    assert not talk.core.connected
    assert len(talk.outcomes) == 1


def test_leaving_ends_what_waits() -> None:
    talk = Talk()
    talk.welcome()
    key = talk.core.act("a")
    talk.core.leave()
    talk.turn()
    assert talk.outcomes == [ActLost(key)]


# -------------------------------------------------------------------------------------------------------------- asyncio
class Shop(Door):
    """A server whose body does what it is asked to; ``deaf``: acts that it does not answer the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.deaf: set[int] = set()
        self.ignored = asyncio.Event()
        take = self.body.take

        def answer(data: bytes, now_ms: float) -> list[bytes]:
            message = decode_client(data)
            if not isinstance(message, Act):
                return take(data, now_ms)
            if message.number in self.deaf:
                self.deaf.discard(message.number)
                self.ignored.set()
                return []
            sells = message.name == "buy"
            self.body.sseq += 1
            value = message.payload if sells else "no"
            return [encode_server(Answer(message.number, int(not sells), value, self.body.sseq))]

        self.body.take = answer  # type: ignore[method-assign]


async def test_a_program_waits_for_its_answers() -> None:
    async with door(Shop) as (_, url), Client(ClientConfig(url=url, name="Ada")) as me:
        assert await me.act("buy", 3) == 3
        with pytest.raises(ActRefusedError, match="no") as refused:
            await me.act("sell")
        assert refused.value.code == 1
        many = 2 * ACTS_UNANSWERED_MAX
        assert await asyncio.gather(*(me.act("buy", k) for k in range(many))) == list(range(many))


async def test_a_program_is_told_when_nobody_can_know() -> None:
    async with door(Shop) as (server, url), Client(ClientConfig(url=url, name="Ada")) as me:
        assert isinstance(server, Shop)
        server.deaf = {1}

        async def leave() -> None:
            await server.ignored.wait()
            me.core.leave()
            me._wake.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(leave())
            with pytest.raises(ActLostError):
                await me.act("buy", 1)
        with pytest.raises(ActLostError):
            await me.act("buy", 2)


async def test_who_waits_no_longer_has_acted_all_the_same() -> None:
    core = ClientCore(ClientConfig(url="ws://a/ws"), lambda: 0.5)
    awaited, wake = Awaited(), asyncio.Event()
    for number in range(1, 3 * ACTS_UNANSWERED_MAX):
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(awaited.act(core, "buy", None, wake))
            await asyncio.sleep(0)
            task.cancel()
        assert task.cancelled()
        core._acts.say()
        awaited.heard(core._acts.answered(Answer(number, 1, "no")))
