"""Acts of a program on asyncio: a future for each, and an error for each way in which it can end badly.

Not responsible for: numbers, repeating (``client.acting``).
"""

import asyncio
from typing import Any

from client.core import ClientCore
from client.events import ActAnswered, ActLost, ClientEvent
from protocol.acting import AnswerCode
from protocol.limits import ACTS_UNANSWERED_MAX


class ActRefusedError(Exception):
    """The act was not done, and has changed nothing; ``code`` is one of STANDARD.md §8, ``why`` a text for people."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


class ActLostError(Exception):
    """Nobody knows whether the act was done: the body that did it is gone, or the session ended before the answer."""


class Awaited:
    """The acts of one client that its program waits for."""

    def __init__(self) -> None:
        self._futures: dict[int, asyncio.Future[Any]] = {}
        self._room = asyncio.Semaphore(ACTS_UNANSWERED_MAX)

    async def act(self, core: ClientCore, name: str, payload: Any, wake: asyncio.Event) -> Any:
        """Say it when there is room, and wait for the answer's value; ``wake`` is set when there is something to send.
        Raises ActRefusedError, ActLostError, ValueError for what cannot be said."""
        await self._room.acquire()
        try:
            if core.done:
                raise ActLostError("the session is over")
            key = core.act(name, payload)
        except BaseException:
            self._room.release()
            raise
        future = self._futures[key] = asyncio.get_running_loop().create_future()
        wake.set()
        # A program that waits no longer does not take the act back: its place is free when it was answered.
        future.add_done_callback(_seen)
        return await asyncio.shield(future)

    def heard(self, event: ClientEvent) -> None:
        """The core reports something."""
        if not isinstance(event, ActAnswered | ActLost):
            return
        future = self._futures.pop(event.act, None)
        if future is None:  # the program said it by the core, and looks at its events itself
            return
        self._room.release()
        match event:
            case ActAnswered(_, AnswerCode.DONE, value):
                future.set_result(value)
            case ActAnswered(_, code, why):
                future.set_exception(ActRefusedError(code, str(why)))
            case ActLost():
                future.set_exception(ActLostError("nobody knows whether it was done"))


def _seen(future: "asyncio.Future[Any]") -> None:
    """An error that nobody waits for any more is no news."""
    future.exception()
