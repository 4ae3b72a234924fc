"""A member in a process of its own: ``python -m tests.integration.links.alone NAME LISTEN GENERATION PEER ADDRESS``.

It says ``ready`` when it listens, sends back whatever it is sent, and runs until it is killed.
"""

import asyncio
import sys

from protocol.carried import Kind
from tests.integration.links.members import Member


async def _main(name: str, listen: str, generation: str, peer: str, address: str) -> None:
    member = Member(name, listen, generation=int(generation))
    await member.links.start()
    member.links.set_peers({peer: address})
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        for source, _, data in member.messages:
            member.links.send(source, Kind.MESH, None, data, False)
        member.messages.clear()
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
