"""The life of some inputs, as a gateway and a shard see it: which are followed, and when what became of each.

Theory. A trace must have one number on both sides, and nothing is sent along for it: both know the session and the
number of a command, so both hash these (``chosen``), follow those whose hash is below the sampled part, and make the
trace's number of the same hash. The gateway follows an input from its arrival to the frame that tells its client that
it was applied; the shard from its arrival to the delta that says so. Pure: told times, returns lives that are over.

Invariants: nothing is done for an input that is not chosen but one vector operation for all of a tick; at most
``inputs_max`` are begun in a tick, and none is followed for longer than FOLLOW_S. Not responsible for: sending spans
(``traces``), where it is called (``isthmus.clients``, ``isthmus.member``).
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from protocol.link import RegionDelta, Upward

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
FOLLOW_S = 5.0
"""An input whose answer takes longer is told as it is by then."""
RECENT = 1024
"""Inputs that a shard has told of: gateways say again what they do not know to be applied."""
_GOLDEN, _MIX_1, _MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SALTS = tuple(np.uint64(salt) for salt in (0, 0x5851F42D4C957F2D, 0x14057B7EF767814F, 0xD1342543DE82EF95))


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a life; times on the monotonic clock."""

    name: str
    begin_s: float
    end_s: float


@dataclass(slots=True)
class Life:
    """Of one input. ``trace`` (128 bits) and ``root`` (64 bits): its numbers for OpenTelemetry, the same wherever it
    is seen. ``whole``: the root span, told by the gateway; None: somebody else tells it."""

    session: int
    seq: int
    trace: int
    root: int
    begun_s: float
    parts: list[Part] = field(default_factory=list)
    whole: Part | None = None
    facts: dict[str, int] = field(default_factory=dict)
    done: bool = False
    """It came to its end; else it took longer than FOLLOW_S."""


def hashes(session: U64, seq: U32, salt: int = 0) -> U64:
    """uint64[n]: equal for equal inputs, else as if random (SplitMix64's finaliser, twice)."""
    with np.errstate(over="ignore"):
        return _mixed(_mixed(session ^ _SALTS[salt]) + seq.astype(np.uint64) * _GOLDEN)


def _mixed(z: U64) -> U64:
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    out: U64 = z ^ (z >> np.uint64(31))
    return out


def chosen(session: U64, seq: U32, ratio: float) -> npt.NDArray[np.intp]:
    """Indices of those that are followed, a part ``ratio`` of all."""
    if ratio >= 1.0:
        return np.arange(len(seq))
    return np.flatnonzero(hashes(session, seq) < np.uint64(int(ratio * 2.0**64)))


def life_of(session: int, seq: int, begun_s: float) -> Life:
    """The life of one input, with its numbers."""
    who, number = np.array([session], np.uint64), np.array([seq], np.uint32)
    high, low, root = (int(hashes(who, number, salt)[0]) for salt in (1, 2, 3))
    return Life(session, seq, high << 64 | low or 1, root or 1, begun_s)


def _is_reached(newest: int, seq: int) -> bool:
    """Whether the command ``seq`` is applied when ``newest`` is; numbers come round."""
    return (newest - seq) & 0xFFFFFFFF < 1 << 31


class GatewayLives:
    """What one gateway follows, by (conn, seq). Call in this order: ``taken``, ``forwarded``, ``told``, ``sent``,
    ``over``."""

    def __init__(self, ratio: float, inputs_max: int) -> None:
        self._ratio = ratio
        self._inputs_max = inputs_max
        self._begun = 0
        self._now: dict[tuple[int, int], Life] = {}
        self._forwarded_s: dict[tuple[int, int], float] = {}
        self._told_s: dict[tuple[int, int], float] = {}
        self._over: list[Life] = []

    def taken(self, session: U64, conn: U32, seq: U32, now_s: float) -> None:
        """Commands came from clients; in columns."""
        for k in chosen(session, seq, self._ratio)[: self._inputs_max - self._begun].tolist():
            key = int(conn[k]), int(seq[k])
            if key not in self._now:
                self._begun += 1
                self._now[key] = life_of(int(session[k]), int(seq[k]), now_s)

    def forwarded(self, region: int, conn: U32, seq: U32, now_s: float) -> None:
        """These commands are in the message to a region."""
        if not self._now:
            return
        said = set(zip(conn.tolist(), seq.tolist(), strict=True))
        for key, life in self._now.items():
            if key in said and key not in self._forwarded_s:
                self._forwarded_s[key] = now_s
                life.facts["region"] = region
                life.parts.append(Part("gateway.receive", life.begun_s, now_s))

    def told(self, session: U64, own_seq: U32, now_s: float) -> None:
        """A region has told what it did; by connection: whose it is, and the newest command that was applied."""
        for key, life in self._now.items():
            forwarded_s = self._forwarded_s.get(key)
            if forwarded_s is None or key in self._told_s or int(session[key[0]]) != life.session:
                continue
            if _is_reached(int(own_seq[key[0]]), key[1]):
                self._told_s[key] = now_s
                life.parts.append(Part("gateway.await_region", forwarded_s, now_s))

    def sent(self, conn: npt.NDArray[np.int32], tick: int, encoding_s: float, encoded_s: float, sent_s: float) -> None:
        """Frames of ``tick`` for these connections were encoded and sent."""
        if not self._told_s:
            return
        who = set(conn.tolist())
        for key in [key for key in self._told_s if key[0] in who]:
            life, told_s = self._now.pop(key), self._told_s.pop(key)
            encoding_s = max(told_s, encoding_s)  # it may have come while others' frames were encoded
            life.parts += [
                Part("gateway.await_frame", told_s, encoding_s),
                Part("gateway.encode", encoding_s, max(encoding_s, encoded_s)),
                Part("gateway.send", max(encoding_s, encoded_s), sent_s),
            ]
            life.facts["frame_tick"] = tick
            life.done = True
            self._end(key, life, sent_s)

    def _end(self, key: tuple[int, int], life: Life, now_s: float) -> None:
        self._forwarded_s.pop(key, None)
        self._told_s.pop(key, None)
        life.whole = Part("input", life.begun_s, now_s)
        self._over.append(life)

    def over(self, now_s: float) -> list[Life]:
        """The tick is over: lives that are, too."""
        self._begun = 0
        for key in [key for key, life in self._now.items() if now_s - life.begun_s > FOLLOW_S]:
            self._end(key, self._now.pop(key), now_s)
        out, self._over = self._over, []
        return out


@dataclass(slots=True)
class _Applied:
    life: Life
    region: int
    row: int
    step_s: float
    ended_s: float = 0.0


SessionsOf = Callable[[Upward], U64]
"""uint64 for each of an Upward's inputs: whose it is; 0: nobody's, any more."""


class ShardLives:
    """What one shard follows. Call in this order: ``arrived`` as messages come, ``stepping``, ``stepped``, ``over``."""

    def __init__(self, ratio: float, inputs_max: int) -> None:
        self._ratio = ratio
        self._inputs_max = inputs_max
        self._arrived_s: deque[tuple[tuple[int, int, int], float]] = deque(maxlen=RECENT)
        self._now: dict[tuple[int, int], _Applied] = {}
        self._recent: deque[tuple[int, int]] = deque(maxlen=RECENT)

    def arrived(self, said: Upward, now_s: float) -> None:
        """A message of a gateway came over its link."""
        if len(said.input_seq):
            self._arrived_s.append(((said.gateway, said.region, said.seq), now_s))

    def stepping(self, said: Sequence[Upward], sessions_of: SessionsOf, now_s: float) -> None:
        """A step begins, which takes in these messages."""
        arrived_s = dict(self._arrived_s)
        begun = 0
        for message in said:
            if not len(message.input_seq):
                continue
            session = sessions_of(message)
            followed = chosen(session, np.asarray(message.input_seq), self._ratio)
            for k in followed[session[followed] != 0].tolist():
                key = int(session[k]), int(message.input_seq[k])
                if begun >= self._inputs_max or key in self._now or key in self._recent:
                    continue
                begun += 1
                came_s = arrived_s.get((message.gateway, message.region, message.seq), now_s)
                life = life_of(*key, came_s)
                life.parts.append(Part("shard.inbox", came_s, now_s))
                life.facts["region"] = message.region
                self._now[key] = _Applied(life, message.region, int(message.input_row[k]), now_s)

    def stepped(self, deltas: Sequence[RegionDelta], now_s: float) -> None:
        """The step is over; ``deltas``: what it publishes, of a region that catches up several."""
        for (_, seq), applied in self._now.items():
            for delta in deltas if not applied.ended_s else ():
                if delta.region != applied.region:
                    continue
                at = np.flatnonzero(np.asarray(delta.own_row) == applied.row)
                if len(at) and _is_reached(int(delta.own_seq[at[-1]]), seq):
                    applied.ended_s = now_s
                    applied.life.parts.append(Part("shard.step", applied.step_s, now_s))
                    applied.life.facts["tick"] = delta.tick
                    break

    def over(self, now_s: float) -> list[Life]:
        """The deltas are on their way: lives that are over."""
        out = []
        for key, applied in list(self._now.items()):
            if applied.ended_s:
                applied.life.parts.append(Part("shard.publish", applied.ended_s, now_s))
                applied.life.done = True
            elif now_s - applied.step_s <= FOLLOW_S:
                continue
            del self._now[key]
            self._recent.append(key)
            out.append(applied.life)
        return out
