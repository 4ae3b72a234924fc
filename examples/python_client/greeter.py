"""A client program: walks a circle, greets whoever comes near, answers in the chat, and pets ducks when it is asked
to.

Try it beside a server in development mode: ``python examples/python_client/greeter.py http://127.0.0.1:8080``
"""

import asyncio
import sys
from math import tau

import aiohttp

from isthmus import ActRefusedError, ChatHeard, Client, ClientConfig, Closed, Entered, Welcomed, guest_token


async def walk(me: Client, seconds_per_round: float = 20.0) -> None:
    """Steer a little to the left, again and again: ``steer_towards`` holds until it is called anew."""
    heading = 0.0
    while not me.core.done:
        me.core.steer_towards(heading)
        heading += tau / (seconds_per_round * 10)
        await asyncio.sleep(0.1)


async def pet(me: Client) -> None:
    """Ask for an action of the world; it is done once, also if the connection breaks meanwhile."""
    try:
        answer = await me.act("pet")
        me.say(f"{answer['petted']} happy ducks!")
    except ActRefusedError as refused:
        me.say(f"I cannot: {refused.why}.")


async def main(page: str) -> None:
    """Enter the world as a guest and stay until the server or Ctrl-C ends it."""
    url = page.replace("http", "ws", 1).rstrip("/") + "/ws"
    async with aiohttp.ClientSession() as session:
        token = await guest_token(session, url, "Greeter")
    async with Client(ClientConfig(url=url, name="Greeter", token=token)) as me, asyncio.TaskGroup() as tasks:
        walking = tasks.create_task(walk(me))
        async for event in me.events():
            match event:
                case Welcomed(welcome, resumed):
                    print(f"{'Back in' if resumed else 'Entered'} {welcome.world}, I am {welcome.body}")
                case Entered(entity, _, components) if "name" in components:
                    print(f"{components['name']} ({entity}) came into view")
                case ChatHeard(_, sender, name, text) if me.core.welcome and sender != me.core.welcome.body:
                    print(f"{name}: {text}")
                    if "hello" in text.lower():
                        me.say(f"Hello, {name}!")
                    if "pet" in text.lower():
                        tasks.create_task(pet(me))
                case Closed(code, text, advice):
                    print(f"Closed ({code}): {text}; {advice.name}")
        walking.cancel()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"))
    except KeyboardInterrupt:
        print("Bye")
