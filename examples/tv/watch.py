"""A television without a screen: joins a channel and says what is on.

Try it: ``isthmus serve examples/tv/world.toml``, and beside it ``python examples/tv/watch.py`` or, for another channel
or a part of the last minute, ``python examples/tv/watch.py http://127.0.0.1:8080 duck 30``
"""

import argparse
import asyncio

import aiohttp

from isthmus import CameraMoved, ChannelBegan, Client, ClientConfig, Closed, NotWatching, Watching, guest_token


async def show_guide(session: aiohttp.ClientSession, page: str) -> None:
    """What there is to watch."""
    async with session.get(f"{page}/channels.json") as answer:
        for channel in (await answer.json())["channels"]:
            print(f"{channel['name']:10} {channel['title']:28} {channel['viewers']} watching  {channel['on']}")


async def count_what_is_seen(tv: Client) -> None:
    """Every two seconds: how much there is to draw, and from where."""
    while not tv.core.done:
        await asyncio.sleep(2.0)
        ids, _ = tv.others()
        set_, welcome = tv.core.television, tv.core.welcome
        pose = None if set_ is None or welcome is None else set_.pose(tv.core.entities.tick, welcome.rate_hz)
        if pose is not None:
            (x, y, z), _ = pose
            print(f"  {len(ids)} in the picture, seen from {x:.1f}, {y:.1f}, {z:.1f}")


async def main(page: str, channel: str | None, behind_s: int) -> None:
    """Watch until the server or Ctrl-C ends it."""
    url = page.replace("http", "ws", 1) + "/ws"
    async with aiohttp.ClientSession() as session:
        await show_guide(session, page)
        token = await guest_token(session, url, "Television")
    config = ClientConfig(url=url, name="Television", token=token, profile="tv")
    async with Client(config) as tv, asyncio.TaskGroup() as tasks:
        tv.watch(channel, behind_s)
        counting = tasks.create_task(count_what_is_seen(tv))
        async for event in tv.events():
            match event:
                case Watching(name, title, rate_hz, behind_ms):
                    print(f"Watching {title} ({name}), {rate_hz:g} pictures/s, {behind_ms / 1000:.1f} s behind")
                case NotWatching(_, text):
                    print(f"Not that one: {text}")
                case ChannelBegan(tick):
                    print(f"  a keyframe of tick {tick}")
                case CameraMoved(_, move_ms, text):
                    print(f"  {'moves on' if move_ms else 'cut'}: {text}")
                case Closed(code, text, advice):
                    print(f"Closed ({code}): {text}; {advice.name}")
        counting.cancel()


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description="Watch a channel of a world.")
    asked.add_argument("page", nargs="?", default="http://127.0.0.1:8080", help="where the server's page is")
    asked.add_argument("channel", nargs="?", help="its name; absent: the first one")
    asked.add_argument("behind_s", nargs="?", type=int, default=0, help="how many seconds in the past to begin")
    given = asked.parse_args()
    try:
        asyncio.run(main(given.page.rstrip("/"), given.channel, given.behind_s))
    except KeyboardInterrupt:
        print("Bye")
