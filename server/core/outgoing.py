"""What the gateway's core wants done, in order.

Decides which messages get a number of their stream. Invariants: a structure message's number is given here, once;
nothing is left for a connection that is gone. Not responsible for: frames (``views``), bytes on sockets.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.messages import STRUCTURE_TYPES
from server.core.audience import Audience
from server.session.actions import CloseConn, GiveToken, RefreshKeys

Conns = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Deliver:
    """Send ``data`` to ``conns``; with ``sseq`` (uint32[n]) its sequence number is set for each
    (messages.SSEQ_OFFSET)."""

    conns: Conns
    data: bytes
    sseq: npt.NDArray[np.uint32] | None


Output = Deliver | CloseConn | GiveToken | RefreshKeys


class Outgoing:
    """Outputs until they are taken. ``views``: VIEW[N], whose ``sseq`` counts each stream's structure messages;
    ``audience``: those who have a channel in a view's place."""

    def __init__(self, views: Any, audience: Audience) -> None:
        self._views, self._audience = views, audience
        self._out: list[Output] = []

    def take(self) -> list[Output]:
        """What is to be done, in order; deliver it before the next frames."""
        out, self._out = self._out, []
        return out

    def add(self, output: Output) -> None:
        """Something that is no message."""
        self._out.append(output)

    def post(self, conns: Conns, data: bytes) -> None:
        """A message for these connections; one of structure only for those that have a stream."""
        if data[1] not in STRUCTURE_TYPES:
            self._out.append(Deliver(conns, data, None))
            return
        conns = conns[(self._views["active"][conns] == 1) | self._audience.present[conns]]
        if len(conns):
            self._views["sseq"][conns] += np.uint32(1)
            self._out.append(Deliver(conns, data, self._views["sseq"][conns].copy()))

    def drop(self, conn: int) -> None:
        """Forget what waits for a connection: its slot may be another's before it is delivered."""
        self._out = [left for output in self._out if (left := _without(output, conn)) is not None]


def _without(output: Output, conn: int) -> Output | None:
    match output:
        case Deliver():
            kept = output.conns != conn
            sseq = None if output.sseq is None else output.sseq[kept]
            return output if kept.all() else Deliver(output.conns[kept], output.data, sseq)
        case CloseConn() | GiveToken():
            return None if output.conn == conn else output
    return output
