"""Guest tokens for clients of our server, fetched before they come: each client needs an identity of its own.

Not responsible for: saying them (HELLO, ``contenders``).
"""

import http.client
import json

from bench.process import ChildFailed

TIMEOUT_S = 10.0


def guest_tokens(port: int, names: list[str]) -> list[str]:
    """A token for each name, by POST /api/guest over one connection. Raises ChildFailed when the server refuses."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    tokens = []
    try:
        for name in names:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/api/guest", json.dumps({"name": name}), headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != http.client.OK:
                raise ChildFailed(f"no guest token for {name!r}: {answer.status} {body[:300]!r}")
            tokens.append(str(json.loads(body)["token"]))
    except (OSError, http.client.HTTPException) as error:
        raise ChildFailed(f"no guest tokens: {error!r}") from error
    finally:
        connection.close()
    return tokens
