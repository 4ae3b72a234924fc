"""How many connections each address has. Loopback is exempt: it is the machine's own, or a proxy on it.

Invariant: an address without connections takes no memory. Not responsible for: refusing (``sessions``).
"""

from collections import Counter
from ipaddress import ip_address


class Addresses:
    """Addresses of connections; at most ``each_max`` of one."""

    def __init__(self, each_max: int) -> None:
        self._each_max = each_max
        self._of: dict[int, str] = {}
        self._count: Counter[str] = Counter()

    def __len__(self) -> int:
        """Addresses that have connections."""
        return len(self._count)

    def came(self, conn: int, address: str) -> bool:
        """A connection from ``address`` (IP address as text, or a path); returns whether there is room for it."""
        self.went(conn)
        self._of[conn] = address
        self._count[address] += 1
        return self._count[address] <= self._each_max or is_loopback(address)

    def went(self, conn: int) -> None:
        """The connection is gone. Nothing if it was not known."""
        address = self._of.pop(conn, None)
        if address is not None:
            self._count[address] -= 1
            if not self._count[address]:
                del self._count[address]


def is_loopback(address: str) -> bool:
    """Whether a client at ``address`` is on this machine."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return True  # a Unix socket's path
