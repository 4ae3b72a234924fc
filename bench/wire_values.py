"""A decoder of VALUES written from protocol/STANDARD.md §9.4 alone, for probes over datagrams.

Like ``wire`` it shares no code with ``protocol.values``. Invariant: every rule of §9.4 that a server can break raises
WireError; what is shown of a number is the record of its greatest frame. Not responsible for: speed, sealing and the
reliable stream (``client.datagrams``).
"""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bench.wire import GRID_PER_M, OWN, Columns, View, WireError

VALUES: Final = 28
EARLIER: Final = 64

Row = tuple[int, tuple[int, ...], tuple[int, ...]]
"""A record: tick, p, v."""


@dataclass
class _Entity:
    """What is held of one number: records by frame; ``base`` the newest that was named, by the frame ``named_by``."""

    entered: int
    rows: dict[int, Row] = field(default_factory=dict)
    shown: int = 0
    base: int = 0
    named_by: int = 0


@dataclass(frozen=True)
class _Change:
    """One value of a message; ``base`` None: a full record."""

    number: int
    base: int | None
    p: tuple[int, ...]
    v: tuple[int, ...]
    age: int


class ValuesView(View):
    """``View`` over datagrams. ``earlier``: bit i is set if frame ``frame`` - 1 - i has come."""

    def __init__(self) -> None:
        super().__init__()
        self.earlier = 0
        self._held: dict[int, _Entity] = {}
        self._waiting: list[list[Any]] = []

    def structure(self, message: list[Any]) -> list[int]:
        """Apply a STRUCTURE, and whatever has waited for it."""
        entering = super().structure(message)
        # Shown from its enter until a value comes; no delta refers to that.
        self._held.update((number, _Entity(message[1])) for number in entering)
        ready = [m for m in self._waiting if m[4] <= (self.sseq or 0)]
        self._waiting = [m for m in self._waiting if m[4] > (self.sseq or 0)]
        for waited in sorted(ready, key=lambda m: int(m[2])):
            if not self._apply(waited):
                raise WireError(f"values {waited[2]} waited and lack a base")
        return entering

    def frame_values(self, message: list[Any]) -> npt.NDArray[np.float64] | None:
        """Apply VALUES. Returns the own body's position in metres, float64 ``[3]``, if it is in there."""
        frame, sseq, own = message[2], message[4], message[5]
        behind = self.frame - frame
        if self.frame and (behind == 0 or behind > EARLIER or (behind > 0 and self.earlier >> (behind - 1) & 1)):
            return None
        if sseq > (self.sseq or 0):
            self._waiting.append(message)
        elif not self._apply(message):
            return None
        if behind > 0:
            self.earlier |= 1 << (behind - 1)
        else:
            came = (self.earlier << 1 | 1) if self.frame else 0
            self.earlier = (came << (-behind - 1)) & (1 << EARLIER) - 1 if -behind <= EARLIER else 0
            self.frame = frame
        return None if own is None else np.asarray(np.frombuffer(own, OWN)[0]["f5"], np.float64) / GRID_PER_M

    def _apply(self, message: list[Any]) -> bool:
        """False, and nothing is changed, if a base was given up for a newer one: as good as lost."""
        frame, tick, sseq, origin, block = message[2], message[3], message[4], message[6], message[7]
        if block is None:
            return True
        rows: list[tuple[_Change, Row]] = []
        for change in _changes(frame, block):
            held = self._held.get(change.number)
            if held is None or not self.live[change.number] or held.entered > sseq:
                if sseq == self.sseq:
                    raise WireError(f"values {frame} name {change.number}, which has not entered")
                continue
            if change.base is None:
                p = tuple(a + b for a, b in zip(change.p, origin, strict=True))
                rows.append((change, (tick - change.age, p, change.v)))
                continue
            base = held.rows.get(change.base)
            if base is None:
                if held.named_by > frame and held.base > change.base:
                    return False
                raise WireError(f"values {frame}: number {change.number} has no record of frame {change.base}")
            dt = tick - base[0]
            p = tuple(x + ((v * dt + 8) >> 4) + d for x, v, d in zip(base[1], base[2], change.p, strict=True))
            rows.append((change, (tick, p, tuple(v + d for v, d in zip(base[2], change.v, strict=True)))))
        for change, row in rows:
            self._put(frame, change, row)
        return True

    def _put(self, frame: int, change: _Change, row: Row) -> None:
        held = self._held[change.number]
        if change.base is None:
            self.fulls += 1
        else:
            self.deltas += 1
            if frame > held.named_by:
                held.named_by = frame
                if change.base > held.base:
                    held.base = change.base
                    held.rows = {f: r for f, r in held.rows.items() if f >= change.base}
        held.rows[frame] = row
        if frame > held.shown:
            held.shown = frame
            n = change.number
            self.tick[n], self.p[n], self.v[n] = row


def _changes(frame: int, block: bytes) -> list[_Change]:
    columns = Columns(block)
    d, f = (int(n) for n in columns.take("<u2", 2))
    numbers = columns.take("<u2", d).tolist() + columns.take("<u2", f).tolist()
    full_p, full_v = columns.vectors("<i2", f), columns.vectors("<i2", f)
    p, v = columns.vectors("i1", d).tolist() + full_p.tolist(), columns.vectors("i1", d).tolist() + full_v.tolist()
    columns.take("u1", d)
    back = columns.take("u1", d).tolist()
    age = [0] * d + columns.take("u1", f).tolist()
    columns.take("u1", f)
    if columns.left():
        raise WireError(f"a block of values has {columns.left()} bytes too many")
    if 0 in back:
        raise WireError("a delta refers to its own frame")
    bases = [frame - b for b in back] + [None] * f
    changes = zip(numbers, bases, p, v, age, strict=True)
    return [_Change(number, base, tuple(pp), tuple(vv), a) for number, base, pp, vv, a in changes]
