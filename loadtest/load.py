"""What all users of one process share: the scenario, the gateways, tokens, the ground, the time since it began.

Decides who comes to which gateway (in turn) and which token is whose. Invariants: with one seed and one worker number
users draw the same numbers; no token is given to two users. Not responsible for: other processes.
"""

from collections.abc import Sequence

import numpy as np
from gevent.lock import Semaphore

from client.core import ClientCore
from client.shell.connection import now_ms, ws_url
from client.tiles import MapError
from client.walk import Ground
from loadtest.measuring import Measuring
from loadtest.scenario import Scenario
from loadtest.wire.http import guest_token, whole_map


class NoTokenError(Exception):
    """There are more users than tokens."""


class NoGatewayError(Exception):
    """Nobody said where to go."""


class Load:
    """One process's part of a run."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.measuring = Measuring()
        self.ground: Ground | None = None
        self.map_problem: str | None = None
        self._gateways: list[str] = []
        self._tokens: list[str] | None = None
        self._worker, self._workers = 0, 1
        self._came = 0
        self._began_ms = 0.0
        self._map_lock = Semaphore()
        self._map_asked = False

    def configure(self, gateways: Sequence[str], tokens: list[str] | None, workers: int) -> None:
        """Where to go, and with what. ``tokens`` None: guests' tokens are asked for. ``workers``: how many processes
        share the tokens."""
        self._gateways = [ws_url(each) for each in gateways]
        self._tokens, self._workers = tokens, max(1, workers)

    def begin(self, worker: int) -> None:
        """The run begins now, in the process with this number."""
        self._worker = max(0, worker)
        self._came = 0
        self._began_ms = now_ms()
        self.measuring.start()

    def newcomer(self) -> tuple[int, np.random.Generator]:
        """A number that no other user of the run has, and its randomness."""
        count, self._came = self._came, self._came + 1
        seed = np.random.SeedSequence([self.scenario.seed, self._worker, count])
        return count * self._workers + self._worker, np.random.default_rng(seed)

    def gateway(self, number: int) -> str:
        """The gateway to join at. Raises NoGatewayError."""
        if not self._gateways:
            raise NoGatewayError("name the gateways as host: http://127.0.0.1:8080, several with commas between them")
        return self._gateways[number % len(self._gateways)]

    def token(self, url: str, name: str, number: int) -> str:
        """A token for a user. Raises NoTokenError, OSError, ValueError."""
        if self._tokens is None:
            return guest_token(url, name)
        if number >= len(self._tokens):
            raise NoTokenError(f"user {number + 1} has no token: the file has {len(self._tokens)}, one identity each")
        return self._tokens[number]

    def storms_before(self, at_ms: float) -> int:
        """How many of the scenario's storms have begun."""
        second = (at_ms - self._began_ms) / 1000.0
        return sum(second >= storm.at_s for storm in self.scenario.storms)

    def want_ground(self, core: ClientCore, path: str) -> None:
        """The world has a map: load all of it once for this process, and let ``core`` predict on it."""
        with self._map_lock:
            if not self._map_asked:
                self._map_asked = True
                try:
                    _, self.ground = whole_map(core.url, path)
                except (OSError, MapError) as problem:
                    self.map_problem = f"no map, so nothing is predicted: {problem}"
        core.set_ground(self.ground)
