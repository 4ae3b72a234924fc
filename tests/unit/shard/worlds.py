"""Small worlds and messages that the shard's tests share."""

from collections.abc import Sequence

import numpy as np

from protocol.layouts import COMMAND, GRID_PER_M
from protocol.link import Upward
from protocol.place import Place, StaticMap
from shard.behaviours.api import Body, Script
from shard.behaviours.world import Rows, World


def boxes(*sides_m: tuple[float, float, float, float, float, float], half_m: float = 64.0) -> StaticMap:
    """Ground with boxes (min_x, min_z, max_x, max_z, bottom, top), metres."""
    corners = []
    for x0, z0, x1, z1, _, _ in sides_m:
        corners += [(x0, z0), (x1, z0), (x1, z1), (x0, z1)]
    count = len(sides_m)
    half = round(half_m * GRID_PER_M)
    return StaticMap(
        bounds=np.array([-half, -half, half, half], np.int32),
        key=np.arange(count, dtype=np.uint32),
        bottom=np.array([round(side[4] * GRID_PER_M) for side in sides_m], np.int32),
        top=np.array([round(side[5] * GRID_PER_M) for side in sides_m], np.int32),
        ring_start=np.arange(count + 1, dtype=np.int32),
        point_start=np.arange(0, 4 * count + 1, 4, dtype=np.int32),
        point=np.rint(np.array(corners, np.float64).reshape(-1, 2) * GRID_PER_M).astype(np.int32),
    )


def place(ground: StaticMap, spawn_m: Sequence[tuple[float, float]] = ((0.0, 0.0),)) -> Place:
    """A place around a ground."""
    return Place("test", (60.0, 24.0, 0.0), "", ground, spawn_m=np.array(spawn_m, np.float64).reshape(-1, 2))


def attach(tick: int, *sessions: int, generation: int = 1, body: int = 0) -> Upward:
    """These sessions ask for bodies."""
    return Upward(1, tick * 64, tick, attach=[[s, generation, f"P{s}", "person", "desktop", body] for s in sessions])


def command(move_x: int = 0, move_z: int = 0, steps: int = 3, buttons: int = 0, yaw: int = 0) -> "np.ndarray":
    """One command, COMMAND[1]."""
    made = np.zeros(1, COMMAND)
    made["move_x"], made["move_z"], made["steps"], made["buttons"], made["yaw"] = move_x, move_z, steps, buttons, yaw
    return made


def inputs(tick: int, given: Sequence[int], entries: Sequence[tuple[int, "np.ndarray"]]) -> Upward:
    """Commands (seq, command) for the body of an ``attached`` entry."""
    count = len(entries)
    return Upward(
        1000 + given[0],  # each session has a gateway of its own, whose messages are numbered by tick and row
        tick * 64 + 1 + given[3] % 63,
        tick,
        input_row=np.full(count, given[3], np.uint32),
        input_generation=np.full(count, given[4], np.uint32),
        input_seq=np.array([seq for seq, _ in entries], np.uint32),
        input_command=np.concatenate([made for _, made in entries]) if entries else np.zeros(0, COMMAND),
    )


def busy_script() -> Script:
    """A world in which all that behaviours can do happens: for determinism and dumps."""
    script = Script("busy")
    mood = script.component("mood", "f4", replicate=True, scale=0.01, default=0.5)
    label = script.component("label", "U8", replicate=True)
    laps = script.component("laps", "i4")
    script.kind("duck", [mood, label, laps], Body(radius_m=0.3, mass_kg=30, height_m=0.5))
    script.kind("ball", [], Body(radius_m=0.2, mass_kg=1, drag_per_s=0.3, elasticity=0.7, turns=True))
    script.kind("ghost", [laps])

    @script.start
    def begin(world: World) -> None:
        where = world.random.uniform(-8, 8, (60, 3)) * [1, 0, 1]
        ducks = world.spawn("duck", 40, pos=where[:40])
        world.spawn("ball", 20, pos=where[40:])
        world.spawn("ghost", 3, vel=[0.5, 0, 0])
        world.after(1.0, "lap", ducks, np.arange(40))

    @script.every("duck", ticks=5)
    def waddle(world: World, ducks: Rows) -> None:
        ducks.vel[:, [0, 2]] = world.random.normal(0, 1.5, (len(ducks), 2))
        who, _ = world.near(ducks.pos[:, 0], ducks.pos[:, 2], 2.0)
        ducks.mood = np.minimum(np.bincount(who, minlength=len(ducks)) * 0.1, 1.0)

    @script.timer("lap", "duck")
    def lap(world: World, ducks: Rows, values: "np.ndarray") -> None:
        ducks.laps += 1
        ducks.label = values.astype("U8")
        world.after(0.5 + float(world.random.random()), "lap", ducks.id, values + 1)
        world.send(world.all("ghost").id, "boo", {"ducks": len(ducks)})
        if world.random.random() < 0.3:
            world.despawn(ducks.id[:1])
            made = world.spawn("duck", 1, pos=[0, 0, 0], label="new")
            world.after(0.5, "lap", made)

    @script.message("boo", "ghost")
    def boo(world: World, ghosts: Rows, payloads: list[dict[str, int]]) -> None:
        ghosts.laps += [payload["ducks"] for payload in payloads]
        world.tell("boo", entity=int(ghosts.id[0]))

    @script.leave("duck")
    def gone(world: World, ids: "np.ndarray") -> None:
        world.spawn("ghost", len(ids), pos=world.random.uniform(-3, 3, 3) * [1, 0, 1])

    return script
