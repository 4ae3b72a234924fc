"""A client program that plays a headset: it waves, looks at others' hands, walks to a cup, takes and throws it.

Try it beside a server in development mode with the example world of things:

    isthmus serve examples/hands/world.toml
    python examples/python_client/headset.py http://127.0.0.1:8080
"""

import asyncio
import sys
from math import atan2, cos, hypot, sin

import aiohttp

from isthmus import (
    ActAnswered,
    Client,
    ClientConfig,
    Closed,
    Entered,
    OwnHands,
    Part,
    Sample,
    Told,
    Welcomed,
    guest_token,
)


def now_s() -> float:
    """The clock that the client runs by."""
    return asyncio.get_running_loop().time()


def waving(seconds: float, reach: Part | None) -> Sample:
    """A head that nods, a left hand that waves, and a right hand that reaches for something."""
    head = Part((0.0, 1.7 + 0.01 * sin(seconds), 0.0), (sin(0.1 * sin(seconds)), 0.0, 0.0, cos(0.1 * sin(seconds))))
    left = Part((-0.4 + 0.1 * sin(8 * seconds), 1.5, -0.3))
    return Sample(head, left, reach or Part((0.3, 1.1, -0.3)), ((0.0, 0.0), (1.0 if reach else 0.0, 0.0)))


def reach_for(me: Client, thing: int) -> Part | None:
    """Where the right hand goes to touch a thing, from the own feet; None if it is not to be seen."""
    ids, places = me.core.others(now_s() * 1000.0)
    found = [place for id_, place in zip(ids.tolist(), places.tolist(), strict=True) if id_ == thing]
    own = me.core.position
    if not found or own is None:
        return None
    return Part((found[0][0] - own[0], found[0][1] - own[1], found[0][2] - own[2]))


async def play(me: Client, hands: OwnHands, cups: list[int]) -> None:
    """Track head and hands at 60 Hz; every five seconds go to a cup, take it, and throw it two seconds later."""
    began = now_s()
    holds_since, next_grab = 0.0, 2.0
    while not me.core.done:
        seconds = now_s() - began
        reach = None
        if hands.holds("right") is not None:
            reach = Part((0.3, 1.1 + 0.3 * sin(6 * seconds), -0.4 - 0.2 * sin(6 * seconds)))
            if seconds - holds_since > 2.0:
                hands.release("right")
        elif cups and seconds > next_grab:
            reach = reach_for(me, cups[0])
            if reach is not None and hypot(reach.p[0], reach.p[2]) > 0.6:
                me.core.steer_towards(atan2(-reach.p[0], -reach.p[2]), 0.5)
                next_grab = seconds
            elif reach is not None:
                me.core.steer(0.0, 0.0)
                if seconds > next_grab + 0.5:  # the hand is there by now
                    hands.grab(cups[0], "right")
                    cups.append(cups.pop(0))
                    holds_since, next_grab = seconds, seconds + 5.0
        me.core.set_pose(waving(seconds, reach), now_s() * 1000.0)
        await asyncio.sleep(1 / 60)


async def watch(me: Client) -> None:
    """Say every two seconds how many people's hands are to be seen."""
    while not me.core.done:
        await asyncio.sleep(2.0)
        poses = me.core.poses()
        print(f"hands of {len(poses)} people, {sum(len(held.samples) for held in poses.values())} samples")


async def main(page: str) -> None:
    """Enter the world as a guest and stay until the server or Ctrl-C ends it."""
    url = page.replace("http", "ws", 1).rstrip("/") + "/ws"
    async with aiohttp.ClientSession() as session:
        token = await guest_token(session, url, "Hand")
    cups: list[int] = []
    config = ClientConfig(url=url, name="Hand", token=token, profile="vr")
    async with Client(config) as me, asyncio.TaskGroup() as tasks:
        hands = OwnHands(me.core.act)
        running = [tasks.create_task(play(me, hands, cups)), tasks.create_task(watch(me))]
        async for event in me.events():
            hands.heard(event)
            match event:
                case ActAnswered(_, code, value):
                    print("done" if code == 0 else "refused", value)
                case Welcomed(welcome, _):
                    print(f"Entered {welcome.world}, I am {welcome.body}")
                case Entered(entity, _, components) if "colour" in components:
                    cups.append(entity)
                case Told(_, name, payload):
                    print(f"{name}: {payload}")
                case Closed(code, text, advice):
                    print(f"Closed ({code}): {text}; {advice.name}")
        for task in running:
            task.cancel()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"))
    except KeyboardInterrupt:
        print("Bye")
