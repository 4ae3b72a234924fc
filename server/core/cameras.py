"""Cameras of channels: what each looks at, tick by tick, and the poses that viewers are told.

Decides poses: a fixed place, an entity that is followed, a path that is flown again and again, or what the director
chose. A camera says a pose only when it changes; ``now`` says it to somebody who comes later. Invariants: deterministic
in its ticks and what it sees; what is looked at is the middle of the channel's view. Not responsible for: who sees it
(``channels``), liveliness (``director``).
"""

from dataclasses import dataclass
from math import cos, sin, sqrt, tau
from typing import Literal, Protocol

from protocol.channels import Point
from protocol.layouts import GRID_PER_M
from server.core.director import Director, Scene
from server.core.sight import Metres, Sight

Kind = Literal["fixed", "follow", "path", "director"]
LOOK_S = 0.5
"""So often a director looks around, and a lost entity is searched for."""
GLIDE_MS = 2000
HEAD_M = 1.2
"""Above the ground: what is looked at is people, not their feet."""
GOLDEN = tau * (sqrt(5) - 1) / 2
"""Between the bearings of two shots: successive ones never look alike."""


@dataclass(frozen=True, slots=True)
class Waypoint:
    """Of a path: at ``at_s`` the camera is at ``eye_m`` and looks at ``look_m``."""

    at_s: float
    eye_m: Metres
    look_m: Metres


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """One channel, as its world declares it; metres, seconds and radians.

    ``place_m``: what a fixed camera looks at, and where the others look while they have found nothing. The eye stands
    ``distance_m`` away in the direction ``bearing`` (a yaw) and ``height_m`` above. ``follow_id``, or ``follow_kind``
    with ``follow_name`` ("": any): whom it follows. ``cap``: entities at once; ``bytes_per_s``: of the stream.
    """

    name: str
    title: str = ""
    camera: Kind = "director"
    place_m: Metres = (0.0, 0.0, 0.0)
    distance_m: float = 14.0
    height_m: float = 8.0
    bearing: float = 0.0
    follow_id: int | None = None
    follow_kind: str = ""
    follow_name: str = ""
    path: tuple[Waypoint, ...] = ()
    shot_least_s: float = 6.0
    shot_most_s: float = 30.0
    radius_m: float = 80.0
    near_radius_m: float = 30.0
    cap: int = 200
    rate_hz: float = 5.0
    bytes_per_s: int = 40_000


@dataclass(frozen=True, slots=True)
class Pose:
    """What viewers are told (``protocol.channels.Camera``), grid units."""

    entity: int | None
    eye: Point
    look: Point
    text: str
    move_ms: int = 0


@dataclass(frozen=True, slots=True)
class Aim:
    """``centre``: the middle of the view, grid units; ``told``: poses that viewers are told now, in order."""

    centre: Point
    told: tuple[Pose, ...] = ()


class Camera(Protocol):
    """One channel's camera."""

    def look(self, tick: int, sight: Sight) -> Aim:
        """Time passed."""

    def now(self, tick: int) -> tuple[Pose, ...]:
        """What one must be told who was told nothing yet, after ``look`` of that tick."""


def make_camera(spec: ChannelSpec, rate_hz: int) -> Camera:
    """The camera of a channel that begins anew; ``rate_hz`` of the world."""
    match spec.camera:
        case "fixed":
            return _Fixed(spec)
        case "follow":
            return _Follow(spec, rate_hz)
        case "path":
            return _Path(spec, rate_hz)
        case "director":
            return _Directed(spec, rate_hz)


def grid(place_m: Metres) -> Point:
    """Metres to grid units."""
    x, y, z = (round(value * GRID_PER_M) for value in place_m)
    return x, y, z


def _away(place_m: Metres, spec: ChannelSpec, bearing: float) -> Metres:
    """Where the eye stands to look at a place: a yaw of 0 looks along −Z, so the eye is then at +Z."""
    x, y, z = place_m
    return x + sin(bearing) * spec.distance_m, y + spec.height_m, z + cos(bearing) * spec.distance_m


def _still(place_m: Metres, spec: ChannelSpec, bearing: float, text: str, move_ms: int = 0) -> Pose:
    look_m = (place_m[0], place_m[1] + HEAD_M, place_m[2])
    return Pose(None, grid(_away(place_m, spec, bearing)), grid(look_m), text, move_ms)


class _Fixed:
    def __init__(self, spec: ChannelSpec) -> None:
        self._centre = grid(spec.place_m)
        self._pose = _still(spec.place_m, spec, spec.bearing, spec.title)
        self._told = False

    def look(self, tick: int, sight: Sight) -> Aim:
        told = () if self._told else (self._pose,)
        self._told = True
        return Aim(self._centre, told)

    def now(self, tick: int) -> tuple[Pose, ...]:
        return (self._pose,)


class _Follow:
    """Tied to an entity: its pose is relative to it, so that nothing needs to be said while it walks."""

    def __init__(self, spec: ChannelSpec, rate_hz: int) -> None:
        self._spec = spec
        self._every = max(1, round(LOOK_S * rate_hz))
        self._next = 0
        self._entity: int | None = None
        self._centre_m = spec.place_m
        self._pose = _still(spec.place_m, spec, spec.bearing, "")
        self._told = False

    def look(self, tick: int, sight: Sight) -> Aim:
        place_m = None if self._entity is None else sight.place(self._entity)
        if place_m is None and tick >= self._next:
            self._next = tick + self._every
            place_m = self._search(sight)
        if place_m is not None:
            self._centre_m = place_m
        told = () if self._told else (self._pose,)
        self._told = True
        return Aim(grid(self._centre_m), told)

    def _search(self, sight: Sight) -> Metres | None:
        spec = self._spec
        found = spec.follow_id if spec.follow_id is not None else sight.find(spec.follow_kind, spec.follow_name)
        place_m = None if found is None else sight.place(found)
        entity = None if place_m is None else found
        if entity != self._entity:
            self._entity, self._told = entity, False
            if entity is None:  # it stays where it was seen last
                self._pose = _still(self._centre_m, spec, spec.bearing, "")
            else:
                eye = grid(_away((0.0, 0.0, 0.0), spec, spec.bearing))
                self._pose = Pose(entity, eye, grid((0.0, HEAD_M, 0.0)), sight.name(entity) or spec.follow_kind)
        return place_m

    def now(self, tick: int) -> tuple[Pose, ...]:
        return (self._pose,)


class _Path:
    """Flown from waypoint to waypoint and from the last back to the first, where it begins with a cut."""

    def __init__(self, spec: ChannelSpec, rate_hz: int) -> None:
        self._spec = spec
        self._rate_hz = rate_hz
        self._leg: tuple[int, int] | None = None

    def _at(self, tick: int) -> tuple[int, int, float]:
        """Which round, which leg of it, and seconds into the round."""
        path = self._spec.path
        begin_s, length_s = path[0].at_s, path[-1].at_s - path[0].at_s
        t_s = tick / self._rate_hz
        lap = int(t_s // length_s)
        into_s = begin_s + t_s - lap * length_s
        leg = max(k for k in range(len(path) - 1) if path[k].at_s <= into_s or k == 0)
        return lap, leg, into_s

    def _between(self, tick: int) -> tuple[Metres, Metres]:
        _, leg, into_s = self._at(tick)
        a, b = self._spec.path[leg], self._spec.path[leg + 1]
        part = (into_s - a.at_s) / (b.at_s - a.at_s)
        return _mix(a.eye_m, b.eye_m, part), _mix(a.look_m, b.look_m, part)

    def look(self, tick: int, sight: Sight) -> Aim:
        lap, leg, _ = self._at(tick)
        told = () if self._leg == (lap, leg) else self._poses(tick, cut=self._leg is None or leg == 0)
        self._leg = lap, leg
        return Aim(grid(self._between(tick)[1]), told)

    def now(self, tick: int) -> tuple[Pose, ...]:
        return self._poses(tick, cut=True)

    def _poses(self, tick: int, cut: bool) -> tuple[Pose, ...]:
        _, leg, into_s = self._at(tick)
        to, title = self._spec.path[leg + 1], self._spec.title
        flight = Pose(None, grid(to.eye_m), grid(to.look_m), title, max(1, round((to.at_s - into_s) * 1000)))
        eye_m, look_m = self._between(tick)
        return (Pose(None, grid(eye_m), grid(look_m), title), flight) if cut else (flight,)


def _mix(a: Metres, b: Metres, part: float) -> Metres:
    return a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part, a[2] + (b[2] - a[2]) * part


class _Directed:
    """What the director chose; each shot from another side."""

    def __init__(self, spec: ChannelSpec, rate_hz: int) -> None:
        self._spec = spec
        self.director = Director(rate_hz, spec.shot_least_s, spec.shot_most_s)
        self._every = max(1, round(LOOK_S * rate_hz))
        self._next = 0
        self._scene: Scene | None = None
        self._pose = _still(spec.place_m, spec, spec.bearing, "nobody is here")
        self._centre = grid(spec.place_m)
        self._told = False

    def look(self, tick: int, sight: Sight) -> Aim:
        if tick >= self._next:
            self._next = tick + self._every
            scene = self.director.look(tick, sight.crowd())
            if scene is not None:
                self._turn_to(scene)
        told = () if self._told else (self._pose,)
        self._told = True
        return Aim(self._centre, told)

    def _turn_to(self, scene: Scene) -> None:
        before = self._scene
        self._scene = scene
        if before is not None and before[:4] == scene[:4]:
            return
        glides = before is not None and before.shot == scene.shot
        place_m = (scene.x, scene.y, scene.z)
        text = "one person" if scene.people == 1 else f"{scene.people or 'no'} people"
        bearing = self._spec.bearing + (scene.shot - 1) * GOLDEN
        self._pose = _still(place_m, self._spec, bearing, text, GLIDE_MS if glides else 0)
        self._centre = grid(place_m)
        self._told = False

    def now(self, tick: int) -> tuple[Pose, ...]:
        p = self._pose
        return (Pose(p.entity, p.eye, p.look, p.text),)


def director_of(camera: Camera) -> Director | None:
    """The director of a camera that has one: to be told what happens."""
    return camera.director if isinstance(camera, _Directed) else None
