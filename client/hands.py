"""What the own hands hold, shown before the server has decided (``shard.behaviours.hands`` is the other side).

Theory of operation. A grab is an act; it is answered within a round trip. Until then the thing is shown in the hand; if
somebody else was first, it goes back to where the server shows it. A thing across a border is answered "not decided
yet"; an event decides. Invariants: a hand holds one thing; what was refused or lost is in no hand; what the server says
counts. Not responsible for: saying acts (``core``), where hands are.
"""

from collections.abc import Callable
from typing import Any

from client.events import ActAnswered, ActLost, ClientEvent, Told

Act = Callable[[str, Any], int]


class OwnHands:
    """Of one client. ``act`` says an act and returns its key (``ClientCore.act``)."""

    def __init__(self, act: Act) -> None:
        self._act = act
        self._asked: dict[int, tuple[int, str]] = {}
        """Key of an act to the thing and hand that it was said for."""
        self._holds: dict[str, int] = {}
        self._undecided: dict[int, str] = {}

    def holds(self, hand: str) -> int | None:
        """The thing that is to be shown in a hand ("left", "right")."""
        return self._holds.get(hand)

    def grab(self, thing: int, hand: str = "right") -> int:
        """Reach for a thing; returns the act's key. Raises TooManyActsError."""
        key = self._act("grab", {"thing": thing, "hand": hand})
        self._asked[key] = thing, hand
        self._holds = {h: t for h, t in self._holds.items() if t != thing and h != hand}
        self._holds[hand] = thing
        return key

    def release(self, hand: str = "right") -> int:
        """Let go; returns the act's key. Raises TooManyActsError."""
        key = self._act("release", {"hand": hand})
        self._holds.pop(hand, None)
        return key

    def heard(self, event: ClientEvent) -> bool:
        """An event of the client; whether what is to be shown has changed by it."""
        match event:
            case ActAnswered() if event.act in self._asked:
                thing, hand = self._asked.pop(event.act)
                if event.code != 0:
                    return self._let_go(thing, hand)
                if isinstance(event.value, dict) and event.value.get("held") is None:
                    self._undecided[thing] = hand
            case ActLost() if event.act in self._asked:
                return self._let_go(*self._asked.pop(event.act))
            case Told(name="grab") if isinstance(event.payload, dict) and event.payload.get("thing") in self._undecided:
                thing = event.payload["thing"]
                hand = self._undecided.pop(thing)
                if not event.payload.get("held"):
                    return self._let_go(thing, hand)
        return False

    def _let_go(self, thing: int, hand: str) -> bool:
        if self._holds.get(hand) != thing:
            return False
        del self._holds[hand]
        return True
