"""The own body, now: predicted by the walking rule, put right by what the server decided (WALKING.md §7).

Theory of operation. Each command is applied to the predicted body at once and kept, with the state after each of its
walk steps, until ``own`` says that it is applied. ``own`` names a point in this history (``seq`` whole commands and
``steps`` of the next). If the state kept for that point agrees with the server's, which is rounded to the grid, the
prediction was right and goes on unrounded; else the server's state replaces it and the rest of the history is walked
again. While there is no ground (the map is not loaded, or a program does not want it) the body is where the server
says. Invariants: at most ``HISTORY_MAX`` commands are kept; sequence numbers never repeat within a session.
Not responsible for: the rule (``client.walk``), when commands are made (``client.core``).
"""

from collections import deque
from dataclasses import dataclass, field
from math import dist
from typing import Any

from client.walk import Ground, Walker, walk_step
from protocol.layouts import GRID_PER_M, OWN_MOVED, OWN_ON_GROUND, SHOWN_PER_M

AGREE_M = 0.015
"""Rounding to the grid moves a position by at most 6.8 mm (half a unit on three axes); this is twice that."""
AGREE_M_PER_S = 0.05
"""Rounding moves a velocity by at most 0.5 unit on each axis: 0.0085 m/s at 20 Hz, 0.025 m/s at 60 Hz."""
HISTORY_MAX = 256
U32 = 0xFFFFFFFF

State = tuple[float, float, float, float, float, float, bool]


@dataclass(slots=True)
class Sent:
    """A command as sent, in the units of STANDARD.md §2."""

    seq: int
    move_x: int
    move_z: int
    yaw: int
    pitch: int
    buttons: int
    steps: int
    after: list[State] = field(default_factory=list)
    """The state after each walk step."""


@dataclass(frozen=True, slots=True)
class Correction:
    """The predicted body jumped by ``distance_m``; ``by_server``: something else than commands moved it."""

    distance_m: float
    by_server: bool


def _state(body: Walker) -> State:
    return body.x, body.y, body.z, body.vx, body.vy, body.vz, body.on_ground


def _restore(body: Walker, state: State) -> None:
    body.x, body.y, body.z, body.vx, body.vy, body.vz, body.on_ground = state


class Predictor:
    """The own body. ``placed`` is False until the first ``own``; ``body`` then holds the present state."""

    def __init__(self, ground: Ground | None, rate_hz: int, steps_per_tick: int) -> None:
        self._ground = ground
        self._fresh = True
        """The next state that the server tells is not compared: nothing was predicted for it."""
        self._h = 1.0 / (rate_hz * steps_per_tick)
        self._mps = rate_hz / SHOWN_PER_M
        self.body = Walker(0.0, 0.0, 0.0)
        self.placed = False
        self.seq = 0
        self._sent: deque[Sent] = deque()
        self._base: State | None = None
        self.base_seq = 0
        """The newest command that the server has wholly applied."""

    def set_ground(self, ground: Ground | None) -> None:
        """Predict on ``ground`` from the next ``own`` on; None: do not predict, show what the server says."""
        if (ground is None) != (self._ground is None):
            self._fresh = True
        self._ground = ground

    @property
    def unacknowledged(self) -> int:
        """Commands that the server is not known to have applied."""
        return len(self._sent)

    @property
    def at_rest(self) -> bool:
        """Without a command nothing would change."""
        b = self.body
        return b.on_ground and b.vx == 0.0 and b.vz == 0.0 and b.vy == 0.0

    def pending(self) -> list[Sent]:
        """Commands not known to be applied, oldest first: what a new connection is told again."""
        return list(self._sent)

    def command(self, move_x: int, move_z: int, yaw: int, pitch: int, buttons: int, steps: int) -> Sent:
        """Apply a command of ``steps`` ≥ 1 walk steps, and number it."""
        self.seq = (self.seq + 1) & U32
        sent = Sent(self.seq, move_x, move_z, yaw, pitch, buttons, steps)
        self._sent.append(sent)
        if not self._fresh:
            self._walk(sent, 0)
        if len(self._sent) > HISTORY_MAX:
            # The server has been silent for long; the oldest can no longer be compared with.
            self._sent.popleft()
        return sent

    def _walk(self, sent: Sent, first: int) -> None:
        body, ground, h = self.body, self._ground, self._h
        if ground is None:
            return
        move_x, move_z, buttons = sent.move_x, sent.move_z, sent.buttons
        after = sent.after
        del after[first:]
        for _ in range(first, sent.steps):
            walk_step(ground, body, move_x, move_z, buttons, h)
            after.append((body.x, body.y, body.z, body.vx, body.vy, body.vz, body.on_ground))

    def decided(self, own: Any) -> Correction | None:
        """The server's state (``layouts.OWN``) arrived; returns the correction, if there was one."""
        seq, steps, flags = int(own["seq"]), int(own["steps"]), int(own["flags"])
        px, py, pz = own["p"].tolist()
        vx, vy, vz = own["v"].tolist()
        k = self._mps
        told: State = (
            px / GRID_PER_M,
            py / GRID_PER_M,
            pz / GRID_PER_M,
            vx * k,
            vy * k,
            vz * k,
            bool(flags & OWN_ON_GROUND),
        )
        known = self._advance(seq, steps)
        fresh, self._fresh = self._fresh, self._ground is None
        if known is not None and not fresh and _agree(known, told):
            return None
        before = self.body.x, self.body.y, self.body.z
        _restore(self.body, told)
        self.placed = True
        if steps == 0 or not self._sent:
            self._base = told
        else:
            # Only the last of these is ever compared with; the others hold its place.
            self._sent[0].after[:] = [told] * steps
        for i, sent in enumerate(self._sent):
            self._walk(sent, steps if i == 0 else 0)
        if fresh:
            return None
        return Correction(dist(before, (self.body.x, self.body.y, self.body.z)), bool(flags & OWN_MOVED))

    def _advance(self, seq: int, steps: int) -> State | None:
        """Drop what is applied; the state predicted for the point that the server names, or None if it is not known."""
        while self._sent and (seq - self._sent[0].seq) & U32 < 0x80000000:
            done = self._sent.popleft()
            self._base, self.base_seq = (done.after[-1] if done.after else None), done.seq
        if (seq - self.seq) & U32 < 0x80000000 and seq != self.seq:
            # A body that has had more commands than we know of: a session resumed by a new process.
            self.seq = seq
            self._base = None
        if self.base_seq != seq:
            self._base, self.base_seq = None, seq
        if steps == 0:
            return self._base
        if not self._sent or len(self._sent[0].after) < steps or self._sent[0].seq != (seq + 1) & U32:
            return None
        return self._sent[0].after[steps - 1]


def _agree(a: State, b: State) -> bool:
    return a[6] == b[6] and dist(a[:3], b[:3]) <= AGREE_M and dist(a[3:6], b[3:6]) <= AGREE_M_PER_S
