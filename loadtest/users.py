"""Users for locust: a person in a headset or at a desktop, a television, a machine, each an ordinary client.

Decides what a user does besides walking: when it looks, acts, moves its hands, comes back. A scenario's entry becomes a
class of its own (``make``), with the entry's shares as its weight. Whoever wants a user that does more derives from one
of these and overrides ``play`` and ``heard``. Invariant: what a user measures is in its entry's meter, or in locust's
own statistics (joins, acts, a sample of inputs, everything that failed). Not responsible for: what counts as an
input's delay or a freeze (``noticing``), how many users there are (``ramp``).
"""

from typing import Any, ClassVar

import gevent
from locust import User, task

from client import ActAnswered, ActLost, ClientConfig, ClientCore, Closed, Corrected, Lost, Welcomed
from client.acting import TooManyActsError
from client.events import ClientEvent
from client.shell.connection import now_ms
from loadtest.gestures import gesture
from loadtest.load import Load, NoGatewayError, NoTokenError
from loadtest.measuring import Meter
from loadtest.moves import mover
from loadtest.noticing import Noticing
from loadtest.scenario import Act, Entry
from loadtest.wire.links import Links
from loadtest.wire.trouble import Line
from protocol.codes import Close

LOOK_MS = 100.0
STEER_MS = 250.0
SHOW_MS = 1000.0
"""So often an input's delay is a request in locust's own statistics: all of them would cost more than the client."""
POSE_MS = 25.0
AGAIN_S = 1.0
LEAVE_S = 1.5
WAKE_MS = 1.0


class WorldUser(User):
    """Somebody in the world. ``profile`` and ``frame_hz`` (None: the world's rate) are the device's."""

    abstract = True
    profile: ClassVar[str] = "desktop"
    frame_hz: ClassVar[float | None] = None
    entry: ClassVar[Entry]
    entry_name: ClassVar[str]
    load: ClassVar[Load]

    core: ClientCore

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        load = self.load
        self.number, self.rng = load.newcomer()
        self.meter: Meter = load.measuring.meter(self.entry_name)
        self.noticing = Noticing()
        self.mover = mover(self.entry.move, self.rng)
        self._asked: dict[int, tuple[float, str]] = {}
        self._acts_at_ms: list[float] = []
        self._counts = [0] * len(self.entry.acts)
        self._reading = float(self.rng.uniform(15.0, 25.0))
        self._began_ms = self._lost_ms = 0.0
        self._look_ms = self._steer_ms = self._show_ms = 0.0
        self._storms = 0
        self._links: Links | None = None

    # ------------------------------------------------------------------------------------------- what others override

    def play(self, at_ms: float) -> None:
        """Called often: whatever this user does besides walking and the scenario's acts."""

    def heard(self, event: ClientEvent) -> None:
        """Told every event of the client."""

    def begin(self) -> None:
        """The client was made and is about to connect."""

    # --------------------------------------------------------------------------------------------------------- a life

    @task
    def live(self) -> None:
        """From the first join until locust ends this user; whoever is shut out tries again as somebody else."""
        while True:
            try:
                self._visit()
            finally:
                self._leave()
            gevent.sleep(AGAIN_S)

    def _visit(self) -> None:
        self._began_ms = now_ms()
        try:
            url = self.load.gateway(self.number)
            token = self.load.token(url, f"{self.entry_name[:12]} {self.number}", self.number)
        except (OSError, ValueError, NoGatewayError, NoTokenError) as problem:
            self.fail("JOIN", problem)
            return
        entry = self.entry
        config = ClientConfig(
            url=url,
            name="",
            token=token,
            profile=self.profile,
            agent="isthmus-loadtest",
            predict=entry.predict and entry.moves,
            events=False,
            datagrams=entry.transport == "datagrams",
        )
        core = self.core = ClientCore(config, self.rng.random)
        links = self._links = Links(core, Line(entry.trouble, self.rng.spawn(1)[0]), self.meter, self._woke)
        core.set_ground(self.load.ground)
        self._storms = self.load.storms_before(now_ms())
        self._acts_at_ms = [now_ms() + 1000.0 * act.every_s * float(self.rng.random()) for act in entry.acts]
        self.begin()
        core.start(now_ms())
        while not core.done:
            at_ms = now_ms()
            if core.connected:
                self._live(at_ms)
            core.advance(at_ms)
            self.noticing.acted(core, at_ms)
            links.perform()
            self._events()
            if at_ms >= self._look_ms:
                self._look_ms = at_ms + LOOK_MS
                self.noticing.look(core, self.meter.cell, at_ms)
                self._storm(at_ms)
            due_ms = min(core.next_ms(), self._look_ms, self.next_ms())
            gevent.sleep(max(WAKE_MS, due_ms - now_ms()) / 1000.0)

    def next_ms(self) -> float:
        """When ``play`` should be called again at the latest."""
        return float("inf")

    def _live(self, at_ms: float) -> None:
        if at_ms >= self._steer_ms:
            self._steer_ms = at_ms + STEER_MS
            self.mover.steer(self.core, at_ms)
        self.play(at_ms)
        for index, act in enumerate(self.entry.acts):
            if at_ms >= self._acts_at_ms[index]:
                self._acts_at_ms[index] = at_ms + 1000.0 * act.every_s * float(self.rng.uniform(0.5, 1.5))
                self._act(index, act, at_ms)

    def _act(self, index: int, act: Act, at_ms: float) -> None:
        self._counts[index] += 1
        self._reading += float(self.rng.normal(0.0, 0.1))
        payload = _filled(act.payload, {"$count": self._counts[index], "$reading": round(self._reading, 3)})
        try:
            self._asked[self.core.act(act.name, payload)] = at_ms, act.name
        except TooManyActsError as problem:
            self.fail("ACT", problem, act.name)

    def _woke(self) -> None:
        """The core has heard something."""
        at_ms, links = now_ms(), self._links
        delay_ms = self.noticing.heard(self.core, self.meter.cell, at_ms)
        if delay_ms is not None and at_ms >= self._show_ms:
            self._show_ms = at_ms + SHOW_MS
            self._request("INPUT", "input to frame, one a second", delay_ms)
        if links is not None:
            links.perform()
        self._events()

    def _storm(self, at_ms: float) -> None:
        """If a storm has begun since it was looked at last, lose the connection in it."""
        before, self._storms = self._storms, self.load.storms_before(at_ms)
        for storm in self.load.scenario.storms[before : self._storms]:
            if self._links is not None and self.rng.random() < storm.part:
                self._lost_ms = at_ms
                self._links.pull_the_plug(float(self.rng.uniform(*storm.away_s)))

    def _leave(self) -> None:
        """Leave the world politely, also when this user's greenlet is being killed."""
        links, self._links = self._links, None
        if links is None:
            return
        if not self.core.done:
            self.core.leave()
        links.perform()
        links.end(LEAVE_S)

    # -------------------------------------------------------------------------------------------------------- events

    def _events(self) -> None:
        for event in self.core.take_events():
            match event:
                case Welcomed():
                    self._welcomed(event)
                case Corrected(distance_m, by_server):
                    if not by_server:
                        self.meter.cell.count("corrections")
                        self.meter.cell.sample("correction_mm", 1000.0 * distance_m)
                case ActAnswered(act, code, value):
                    self._answered(act, None if code == 0 else RuntimeError(f"refused: {code} {value}"))
                case ActLost(act):
                    self._answered(act, RuntimeError("lost: nobody knows whether it was done"))
                case Lost(code, text):
                    self._lost(code, text)
                case Closed(code, text):
                    if code != Close.GOING_AWAY or text != "left":
                        self.fail("CLOSED", RuntimeError(f"{code} {text}"))
            self.heard(event)

    def _welcomed(self, event: Welcomed) -> None:
        welcome, at_ms = event.welcome, now_ms()
        tick_ms = 1000.0 / welcome.rate_hz
        period_ms = 1000.0 / self.frame_hz if self.frame_hz else tick_ms
        self.noticing.welcomed(self.meter.news(welcome.rate_hz), tick_ms, period_ms, event.resumed)
        if self._began_ms:
            self._told("JOIN", "join_ms", at_ms - self._began_ms)
        elif self._lost_ms:
            self._told("RETURN", "return_ms", at_ms - self._lost_ms)
        self._began_ms = self._lost_ms = 0.0
        if welcome.map is not None and self.core.config.predict:
            # Not in this greenlet, which reads the connection.
            gevent.spawn(self.load.want_ground, self.core, welcome.map)

    def _told(self, request: str, figure: str, took_ms: float) -> None:
        self.meter.cell.sample(figure, took_ms)
        self._request(request, self.entry_name, took_ms)

    def _answered(self, act: int, problem: Exception | None) -> None:
        asked_ms, name = self._asked.pop(act, (None, ""))
        if problem is not None:
            self.fail("ACT", problem, name)
        elif asked_ms is not None:
            took_ms = now_ms() - asked_ms
            self.meter.cell.sample("act_ms", took_ms)
            self._request("ACT", f"{self.entry_name}: {name}", took_ms)

    def _lost(self, code: int, text: str) -> None:
        if self._lost_ms:
            return  # a storm took it, or it is still on its way back
        if not self._began_ms:
            self._lost_ms = now_ms()
        self.meter.cell.count("losses")
        self.fail("JOIN" if self._began_ms else "LOST", RuntimeError(f"{code} {text}"))

    def fail(self, request: str, problem: Exception, name: str = "") -> None:
        """Something went wrong: an error in the entry's meter and in locust's list of failures."""
        self.meter.cell.count("errors")
        self._request(request, f"{self.entry_name}: {name}" if name else self.entry_name, 0.0, problem)

    def _request(self, request: str, name: str, took_ms: float, problem: Exception | None = None) -> None:
        self.environment.events.request.fire(
            request_type=request, name=name, response_time=took_ms, response_length=0, exception=problem, context={}
        )


class DesktopUser(WorldUser):
    """A person at a desktop: walks, predicts its body."""

    abstract = True


class HeadsetUser(WorldUser):
    """A person in a headset: walks, and moves head and hands all the time."""

    abstract = True
    profile = "vr"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pose_ms = 0.0
        self._phase = float(self.rng.uniform(0.0, 60.0))

    def play(self, at_ms: float) -> None:
        """Track head and hands."""
        if at_ms >= self._pose_ms:
            self._pose_ms = at_ms + POSE_MS
            self.core.set_pose(gesture(at_ms / 1000.0, self._phase), at_ms)

    def next_ms(self) -> float:
        """See WorldUser."""
        return self._pose_ms


class TvUser(WorldUser):
    """A television: watches a channel."""

    abstract = True
    profile = "tv"
    frame_hz = 5.0

    def begin(self) -> None:
        """Ask for the channel, now and on each connection."""
        self.core.watch(self.entry.channel, self.entry.behind_s)


class MachineUser(WorldUser):
    """A machine: a client of profile ``device`` that reports its state by acts, and moves if it can."""

    abstract = True
    profile = "device"
    frame_hz = 5.0


KINDS: dict[str, type[WorldUser]] = {
    "headset": HeadsetUser,
    "desktop": DesktopUser,
    "tv": TvUser,
    "machine": MachineUser,
}


def make(base: type[WorldUser], name: str, entry: Entry, load: Load) -> type[WorldUser]:
    """The class of an entry: locust tells users by it, and starts them by its weight."""
    class_name = "".join(part.capitalize() for part in name.split("_")) + "User"
    weight = max(1, round(1000.0 * entry.share))
    attributes = {"abstract": False, "weight": weight, "entry": entry, "entry_name": name, "load": load}
    return type(class_name, (base,), {**attributes, "__module__": __name__})


def _filled(payload: Any, values: dict[str, Any]) -> Any:
    """A payload with its placeholders filled in."""
    if isinstance(payload, str):
        return values.get(payload, payload)
    if isinstance(payload, dict):
        return {key: _filled(value, values) for key, value in payload.items()}
    if isinstance(payload, list):
        return [_filled(value, values) for value in payload]
    return payload
