"""Guest tokens for clients of our server, fetched before they come: each client needs an identity of its own.

Not responsible for: saying them (HELLO, ``contenders``).
"""

from bench.process import ChildFailed
from loadtest.swarm.hellos import HelloError
from loadtest.swarm.hellos import guest_tokens as of_server


def guest_tokens(port: int, names: list[str]) -> list[str]:
    """A token for each name, of a server on this machine. Raises ChildFailed when it refuses."""
    try:
        return of_server("127.0.0.1", port, names)
    except HelloError as error:
        raise ChildFailed(str(error)) from None
