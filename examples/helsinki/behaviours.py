"""Central Helsinki: some hundred inhabitants walk the streets, and balls and crates lie about to be pushed.

An inhabitant is on an edge of the street graph and walks towards one of its ends, ``side`` metres to the right of its
middle. At the end it takes another edge by chance. Sometimes it stops for a while. Physics keeps it out of walls and
off other people.
"""

import numpy as np
import numpy.typing as npt

from isthmus import Body, Rows, Script, World

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

INHABITANTS = 300
PROPS = 40
COLOURS = 12
"""Looks that a page chooses from."""
LOOK_AHEAD_M = 4.0
ARRIVED_M = 0.75
STOPS_PER_S = 1 / 60
STOP_S = (3.0, 12.0)
STUCK_S = 2.0
FIRST_NAMES = (
    "Aino Eino Helmi Onni Lumi Väinö Aada Leo Sofia Oliver Eevi Toivo Venla Eetu Saana Niilo Kerttu Arvo Siiri Urho "
    "Hilla Pekka Tuuli Ilmari Meri Otso Kaisa Armas Pihla Reino Inka Sulo Ella Tapio Vilma Joona Iida Aarne Noora Kalle"
).split()

script = Script("helsinki")

name = script.component("name", "U32", replicate=True)
colour = script.component("colour", "u1", replicate=True)
street = script.component("street", "i4")
forward = script.component("forward", "?")
side = script.component("side", "f4", unit="m")
pace = script.component("pace", "f4", unit="m/s")
stop_until = script.component("stop_until", "i8", unit="tick")
stuck = script.component("stuck", "i4", unit="tick")

script.kind(
    "inhabitant",
    [name, colour, street, forward, side, pace, stop_until, stuck],
    Body(radius_m=0.3, mass_kg=70, height_m=1.75, friction=0.0),
)
script.kind(
    "ball",
    [colour],
    Body(radius_m=0.3, mass_kg=2, height_m=0.6, drag_per_s=0.4, elasticity=0.6, friction=0.4, turns=True),
)
script.kind("crate", [], Body(radius_m=0.4, mass_kg=25, height_m=0.8, drag_per_s=0.98, turns=True, square=True))
script.extend("person", [colour])


@script.start
def populate(world: World) -> None:
    """Everybody begins somewhere along a street; longer streets get more of them."""
    if world.place is None or not len(world.place.streets.edge):
        raise ValueError("this world needs a place with streets: set world.place in world.toml")
    streets = world.place.streets
    random = world.random
    count = int(world.options.get("inhabitants_count", INHABITANTS))
    edge = random.choice(len(streets.edge), count, p=streets.length_m / streets.length_m.sum())
    ends = streets.node_m[streets.edge[edge]]
    along = random.random(count)[:, None]
    middle = ends[:, 0] * (1 - along) + ends[:, 1] * along
    given = random.choice(FIRST_NAMES, count)
    initial = random.choice(list("AEHIJKLMNPRSTV"), count)
    world.spawn(
        "inhabitant",
        count,
        pos=np.stack([middle[:, 0], np.zeros(count), middle[:, 1]], axis=1),
        name=np.char.add(np.char.add(given, " "), np.char.add(initial, ".")),
        colour=random.integers(0, COLOURS, count),
        street=edge,
        forward=random.random(count) < 0.5,
        side=_sides(random, streets.width_m[edge]),
        pace=random.uniform(1.0, 1.8, count),
    )
    _props(world, int(world.options.get("props_count", PROPS)))


def _props(world: World, count: int) -> None:
    """Balls and crates around the first places where people enter."""
    assert world.place is not None
    spawns = world.place.spawn_m[:4]
    if not len(spawns) or not count:
        return
    random = world.random
    tries = np.concatenate([spawns] * (8 * count // len(spawns) + 1))
    tries = tries + random.uniform(-12.0, 12.0, tries.shape)
    spots = tries[world.fits(tries[:, 0], tries[:, 1])][:count]
    pos = np.stack([spots[:, 0], np.zeros(len(spots)), spots[:, 1]], axis=1)
    balls = pos[: len(pos) * 2 // 3]
    crates = pos[len(balls) :]
    world.spawn("ball", len(balls), pos=balls, colour=random.integers(0, COLOURS, len(balls)))
    world.spawn("crate", len(crates), pos=crates, yaw=random.uniform(0, 2 * np.pi, len(crates)))


@script.enter("person")
def dress(world: World, people: Rows) -> None:
    """Everybody who comes in gets a colour."""
    people.colour = world.random.integers(0, COLOURS, len(people))


@script.every("inhabitant")
def walk(world: World, crowd: Rows) -> None:
    """Keep going along the street; at its end take another one."""
    assert world.place is not None
    streets = world.place.streets
    random = world.random
    ticks = max(1, round(world.dt_s * world.rate_hz))
    moving = crowd.stop_until <= world.tick
    slow = np.hypot(crowd.vel[:, 0], crowd.vel[:, 2]) < 0.3 * crowd.pace
    crowd.stuck = np.where(moving & slow, crowd.stuck + ticks, 0)

    ends = streets.node_m[streets.edge[crowd.street]]
    start = np.where(crowd.forward[:, None], ends[:, 0], ends[:, 1])
    goal = np.where(crowd.forward[:, None], ends[:, 1], ends[:, 0])
    length = np.maximum(streets.length_m[crowd.street], 0.01)
    heading = (goal - start) / length[:, None]
    at = np.sum((crowd.pos[:, [0, 2]] - start) * heading, axis=1)
    ahead = np.minimum(at + LOOK_AHEAD_M, length + ARRIVED_M)
    right = np.stack([-heading[:, 1], heading[:, 0]], axis=1)
    target = start + heading * ahead[:, None] + right * crowd.side[:, None]
    way = target - crowd.pos[:, [0, 2]]
    way = way / np.maximum(np.hypot(way[:, 0], way[:, 1]), 1e-6)[:, None]
    speed = np.where(moving, crowd.pace, 0.0)
    crowd.vel[:, [0, 2]] = way * speed[:, None]
    crowd.yaw = np.where(moving, np.arctan2(-way[:, 0], -way[:, 1]), crowd.yaw)

    blocked = np.flatnonzero(crowd.stuck > STUCK_S * world.rate_hz)
    crowd.forward[blocked] = ~crowd.forward[blocked]
    crowd.side[blocked] = 0.0
    crowd.stuck[blocked] = 0
    _turn(world, crowd, np.flatnonzero(at >= length - ARRIVED_M))
    stops = np.flatnonzero(moving & (random.random(len(crowd)) < STOPS_PER_S * world.dt_s))
    crowd.stop_until[stops] = world.tick + (random.uniform(*STOP_S, len(stops)) * world.rate_hz).astype(np.int64)


def _turn(world: World, crowd: Rows, who: I64) -> None:
    """Those at the end of their street take another edge of that node, back only where there is no other."""
    assert world.place is not None
    streets = world.place.streets
    first, far, edge = streets.neighbours
    here = np.where(crowd.forward[who], streets.edge[crowd.street[who], 1], streets.edge[crowd.street[who], 0])
    degree = first[here + 1] - first[here]
    pick = (world.random.random(len(who)) * degree).astype(np.int64)
    back = edge[first[here] + pick] == crowd.street[who]
    pick = np.where(back, (pick + 1) % degree, pick)
    chosen = first[here] + pick
    crowd.street[who] = edge[chosen]
    crowd.forward[who] = streets.edge[edge[chosen], 1] == far[chosen]
    crowd.side[who] = _sides(world.random, streets.width_m[edge[chosen]])


def _sides(random: np.random.Generator, width_m: npt.NDArray[np.float32]) -> F64:
    """How far to the right of the middle to walk: so people do not walk in one line, and keep off those who come
    towards them."""
    return random.uniform(0.1, 1.0, len(width_m)) * np.clip(width_m / 2 - 0.6, 0.0, 2.0)
