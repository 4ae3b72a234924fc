"""``python -m bench.upgrade.next_release COMMAND …``: the program as its next release might be.

There is one version of the wire and one of links so far, so an upgrade is tried with a release that does not exist: it
speaks one more of both, beside those of today. Its links say everything with a byte before it where both ends know
their next version, which a process of today could not read; to clients it names the next version of the wire and means
the same by it. Everything else is the program as it is. Not responsible for: what a real next version brings.
"""

from collections.abc import Hashable
from functools import partial
from typing import Any
from unittest.mock import patch

from cluster.links import handshake
from cluster.links.connection import Connection, Owner
from cluster.links.frames import LinkBroken
from cluster.links.handshake import Proven, Self
from cluster.links.tally import Ended
from isthmus.cli import main
from protocol.carried import Kind
from protocol.layouts import PROTOCOL_VERSIONS

LINKS = (handshake.VERSIONS[1], handshake.VERSIONS[1] + 1)
WIRE = (PROTOCOL_VERSIONS[1], PROTOCOL_VERSIONS[1] + 1)
MARK = b"\x02"
"""Before each message of a link that speaks the next version."""


class Marked:
    """Whom a connection tells, without the mark."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.began = owner.began
        self.ended = owner.ended

    def proven(self, connection: Connection, peer: Proven) -> bool:
        """See ``connection.Owner``."""
        return self._owner.proven(connection, peer)

    def received(self, connection: Connection, kind: Kind, data: bytes) -> None:
        """See ``connection.Owner``. Raises LinkBroken where the mark is missing."""
        assert connection.peer is not None
        if connection.peer.version == LINKS[1]:
            if data[:1] != MARK:
                raise LinkBroken("a message of an older version on a link of the next one")
            data = data[1:]
        self._owner.received(connection, kind, data)


class NextConnection(Connection):
    """A connection of the next release."""

    def __init__(self, owner: Owner, *given: Any, **named: Any) -> None:
        super().__init__(Marked(owner), *given, **named)

    def put(self, kind: Kind, key: Hashable, data: bytes, *, droppable: bool) -> None:
        """As the version of the link has it."""
        if self.peer is None:
            self.end("a message before the proof", Ended.BROKEN)
        else:
            super().put(kind, key, MARK + data if self.peer.version == LINKS[1] else data, droppable=droppable)


if __name__ == "__main__":
    with (
        patch("isthmus.fleet.host.Self", partial(Self, versions=LINKS)),
        patch("cluster.links.links.Connection", NextConnection),
        patch("server.session.sessions.PROTOCOL_VERSIONS", WIRE),
    ):
        main()
