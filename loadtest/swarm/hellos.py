"""What each client of a swarm says first: its HELLO, with an identity of its own.

Not responsible for: saying it (``c/join.c``).
"""

import http.client
import json
import struct
from collections.abc import Iterable, Sequence

from protocol.layouts import PROTOCOL_VERSION
from protocol.messages import Hello, encode_client

TIMEOUT_S = 10.0


class HelloError(Exception):
    """The server gives no identities; the text says why."""


def guest_tokens(host: str, port: int, names: Sequence[str]) -> list[str]:
    """A guest's token for each name, by POST /api/guest over one connection. Raises HelloError."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    tokens = []
    try:
        for name in names:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/api/guest", json.dumps({"name": name}), headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != http.client.OK:
                text = body[:300].decode(errors="replace")
                raise HelloError(f"no guest's token for {name!r}: {answer.status} {text}")
            tokens.append(str(json.loads(body)["token"]))
    except (OSError, http.client.HTTPException) as error:
        raise HelloError(f"no server answers at http://{host}:{port}: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise HelloError(f"what answers at http://{host}:{port} is no Isthmus server: {error!r}") from error
    finally:
        connection.close()
    return tokens


def hello(name: str, token: str, profile: str, agent: str) -> bytes:
    """A HELLO message."""
    return encode_client(Hello(PROTOCOL_VERSION, PROTOCOL_VERSION, token, name, profile, agent=agent))


def hello_file(hellos: Iterable[bytes]) -> bytes:
    """Records of u16 length and bytes, as the program reads them."""
    return b"".join(struct.pack("<H", len(record)) + record for record in hellos)
