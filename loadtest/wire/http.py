"""The few HTTP requests of a client: a guest's token, the map. Blocking; under gevent's patches others go on meanwhile.

Decides nothing. Not responsible for: scraping figures (``scraping``).
"""

import json
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from client.shell.connection import http_url
from client.tiles import MapIndex, add_tile, decode_index
from client.walk import Ground

TIMEOUT_S = 10.0


def get(url: str) -> bytes:
    """The body of a GET. Raises OSError unless it is 200."""
    with urlopen(url, timeout=TIMEOUT_S) as answer:
        return bytes(answer.read())


def guest_token(ws_url: str, name: str) -> str:
    """A guest's token from a server in development mode. Raises OSError and ValueError with a text that says what to
    do."""
    asked = Request(
        http_url(ws_url, "/api/guest"), json.dumps({"name": name}).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urlopen(asked, timeout=TIMEOUT_S) as answer:
            return str(json.loads(answer.read())["token"])
    except HTTPError as refused:
        raise OSError(f"no guest's token ({refused.code}): give --tokens, a file with one in each line") from refused
    except (KeyError, TypeError) as problem:
        raise ValueError(f"the answer to /api/guest holds no token: {problem!r}") from problem


def whole_map(ws_url: str, path: str) -> tuple[MapIndex, Ground]:
    """The index and all tiles. Raises OSError and MapError."""
    index = decode_index(get(http_url(ws_url, path)))
    ground = index.ground()
    for x, z in sorted(index.tiles):
        add_tile(ground, get(http_url(ws_url, index.tile_path(x, z))), index.grid_per_m)
    return index, ground
