"""People act: each act adds one to a counter of the body and one to a book that stands in the region, both or none.

A body's acts are numbered by its client, so that one that was done twice is noticed. The books stand near the place
where the four regions meet, so that every region sees all of them, across the borders too.
"""

import numpy as np

from isthmus import Refused, Rows, Script, World

OUT_M = 4.0
AROUND_M = 8.0

script = Script("failover")

count = script.component("count", "u4")
newest = script.component("newest", "u4")
doubled = script.component("doubled", "u4")
entries = script.component("entries", "u4", replicate=True)

script.extend("person", [count, newest, doubled])
script.kind("book", [entries])


@script.start
def stand(world: World) -> None:
    """One book for each quarter of the plane; each goes to its region by itself."""
    places = [(x, 0.0, z) for x in (-OUT_M, OUT_M) for z in (-OUT_M, OUT_M)]
    world.spawn("book", len(places), pos=np.array(places))


@script.action("enter")
def enter(world: World, rows: Rows, payloads: list[int]) -> list[list[int]]:
    """Write one entry; answers how many this body has written, and how many of them twice."""
    books = world.all("book")
    if len(books) == 0:
        raise Refused("there is no book in this region yet")
    rows.doubled += payloads[0] <= rows.newest
    rows.newest[:] = payloads[0]
    rows.count += 1
    books.entries[0] += 1
    return [[int(rows.count[0]), int(rows.doubled[0])]]


@script.action("read")
def read(world: World, rows: Rows, payloads: list[None]) -> list[list[int]]:
    """How many books are seen from here, and how many entries all of them have."""
    _, ids = world.near([0.0], [0.0], AROUND_M, "book")
    books = world.some("book", ids.tolist())
    return [[len(books), int(books.entries.sum())]]
