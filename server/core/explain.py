"""What one client is told and why: the interest debugger of the operators' console.

Theory. The view is copied, and the very kernels that make its frames (``kernels.pace.choose``,
``kernels.interest.select``) are run once on the copy: what they would send now is what the next frame has, if nothing
changes until then; what they hold back is held back for the reason that they give. Words are put to it here and nowhere
else.

Invariants: nothing of the gateway changes; an answer is bounded by TOLD_MAX and NOT_TOLD_MAX. Not responsible
for: televisions, whose channel is another's view (``channels``)."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.explain import AGE, COLUMNS, DISTANCE2, DUE, LEVEL, ON_WAY, RANK, look_on, look_on_values
from kernels.interest import REACH, Scratch, scratch
from kernels.layout import FREE, LIVE, Records, Sent, ViewState
from kernels.pace import PROBE_SENT, PROBE_WANTED, choose
from protocol.layouts import GRID_PER_M
from protocol.limits import FRAME_BYTES_MAX
from server.core.gateway import GatewayCore
from server.core.mirror import Mirror
from server.core.views import Views

TOLD_MAX = 400
"""Entities that a view is told of, the nearest."""
NOT_TOLD_MAX = 24
"""Entities around a view that it is not told of, the nearest, each with its reason."""
LEVELS = ("near", "far", "outer")
CROWD_CELL_M = 32


@dataclass(slots=True)
class Looked:
    """What came of the kernels' run on a copy. ``before``, ``after``: the slots; ``view``: the view before; ``budget``:
    bytes of the frame, 0 if there would be none; ``held``: why there would be none, or "". ``numbers`` int64[numbers,
    COLUMNS]."""

    view: Records
    before: Records
    after: Records
    view_after: Records
    budget: int
    held: str
    numbers: npt.NDArray[np.int64]
    around: int
    enter_radius2: int
    counts: npt.NDArray[np.int64]
    s: Scratch

    @property
    def leaves(self) -> list[int]:
        """Slots that are let go."""
        return [int(i) for i in self.s.leave[: self.counts[0]]]

    @property
    def enters(self) -> dict[int, int]:
        """Rows that enter, with their slots."""
        count = int(self.counts[1])
        return dict(zip(self.s.enter[:count].tolist(), self.s.enter_slot[:count].tolist(), strict=True))

    @property
    def updates(self) -> set[int]:
        """Slots whose update is in the frame."""
        deltas, fulls = self.s.delta[: self.counts[3]], self.s.full[: self.counts[4]]
        return {int(i) for i in deltas} | {int(i) for i in fulls}


def look(views: Views, mirror: Mirror, conn: int, tick: int, now_ms: int, blocked: npt.NDArray[np.uint8]) -> Looked:
    """The frame of ``tick`` that the view of ``conn`` would get, on a copy. ``blocked`` uint8[views]."""
    one = slice(conn, conn + 1)
    state = ViewState(*(column[one].copy() for column in views.state))
    view = state.views[0]
    waits_its_turn = bool(tick + 1 < view["next_tick"])  # the frame of this very tick may have gone out
    view["next_tick"] = 0
    chosen, budgets, counts = np.zeros(1, np.int32), np.zeros(1, np.int32), np.zeros(9, np.int64)
    before_view = views.state.views[one].copy()[0]
    count = choose(
        1, tick, now_ms, views.patience_ms, FRAME_BYTES_MAX, blocked[one].copy(), state, chosen, budgets, counts
    )
    held = "" if count else _why_held(view, bool(blocked[conn]))
    budget = int(budgets[0]) if count else 0
    s = scratch(mirror.rows, state.slot.shape[1])
    before = state.slot[0].copy()
    n, numbers, reached = np.zeros(8, np.int64), np.zeros((len(before), COLUMNS), np.int64), np.zeros(3, np.int64)
    seen = mirror.hot, mirror.cold, mirror.outer, mirror.grid, s, n, numbers, reached
    if view["values"]:
        u = slice(conn - views.sent.first, conn - views.sent.first + 1)
        sent = Sent(0, views.sent.base[u].copy(), views.sent.older[u].copy(), views.sent.newer[u].copy())
        look_on_values(tick, budget, now_ms, views.slack_ms, state, sent, *seen)
    else:
        look_on(tick, budget, state, *seen)
    if waits_its_turn and not held:
        held = "turn"
    return Looked(
        before_view, before, state.slot[0], view, budget, held, numbers, int(reached[0]), int(reached[1]), n, s
    )


def _why_held(view: Records, is_blocked: bool) -> str:
    if is_blocked:
        return "blocked"
    if view["stalled"]:
        return "stalled"
    if view["probe"] in (PROBE_WANTED, PROBE_SENT) and view["frame"] != view["acked"]:
        return "measuring"
    if view["bytes_per_s"] and view["allowance"] < view["window_bytes"] - (view["written_bytes"] - view["acked_bytes"]):
        return "allowance"
    return "window"


HELD = {
    "": "frames go out",
    "blocked": "what was written before has not left the socket: the way is full",
    "stalled": "its oldest frame is not acknowledged for longer than its round trip and patience: nothing until it is",
    "measuring": "its round trip is being measured with one small frame alone on the way",
    "allowance": "its bytes per second are used up for the moment",
    "window": "as much is on its way as the way was found to hold",
    "turn": "the frames of its profile are fewer than ticks: it waits for its turn",
}


def explain(
    core: GatewayCore, session: int, entity: int | None, now_ms: int, blocked: npt.NDArray[np.uint8]
) -> dict[str, Any] | None:
    """What a session is told; of ``entity`` in particular, if one is named. None: it is not of this gateway, or has no
    view."""
    known = core.sessions.find(session)
    if known is None or known.conn is None or not core.views.state.views["active"][known.conn]:
        return None
    tick = core.mirror.tick
    looked = look(core.views, core.mirror, known.conn, tick, now_ms, blocked)
    teller = _Teller(core, looked, tick)
    return {
        "session": str(session),
        "name": known.name,
        "profile": known.profile,
        "tick": tick,
        "tick_ms": 1000 / core.facts_fixed.rate_hz,
        "view": teller.view(),
        "entities": teller.entities(),
        "not_told": teller.not_told(),
        "entity": None if entity is None else teller.of_entity(entity),
    }


class _Teller:
    """Puts words to what was looked at."""

    def __init__(self, core: GatewayCore, looked: Looked, tick: int) -> None:
        self._core, self._looked, self._tick = core, looked, tick
        self._kinds = dict(core.schema["kinds"])
        self._names = {entry.body: entry.name for entry in core.sessions.all if entry.body is not None}
        self._names |= {listed.person.body: listed.person.name for listed in core.sessions.all_elsewhere}
        self._enters, self._leaves, self._updates = looked.enters, set(looked.leaves), looked.updates
        self._slot_of = {
            int(looked.before["row"][i]): i
            for i in np.flatnonzero(looked.before["status"][: int(looked.view["high"])] == LIVE).tolist()
            if looked.numbers[i, DISTANCE2] >= 0
        }

    def view(self) -> dict[str, Any]:
        """The view itself."""
        view, after = self._looked.view, self._looked.view_after
        counts = [int(n) for n in self._looked.counts]
        numbers = self._looked.numbers[list(self._slot_of.values())]
        due = numbers[numbers[:, DUE] != 0, AGE]
        return {
            "x_m": _metres(after["x"]),
            "y_m": _metres(after["y"]),
            "z_m": _metres(after["z"]),
            "radius_m": _metres(view["radius"]),
            "leave_radius_m": _metres(view["leave_radius"]),
            "near_radius_m": _metres(view["near_radius"]),
            "outer_radius_m": _metres(view["outer_radius"]),
            "cap": int(view["cap"]),
            "in_range": self._looked.around,
            "reach_m": round(sqrt(max(self._looked.enter_radius2, 0)) / GRID_PER_M, 1),
            "crowded": bool(after["crowded"]),
            "told_of": int(view["live"]),
            "every_ticks": int(view["every"]),
            "bytes_per_s": int(view["bytes_per_s"]),
            "allowance_bytes": int(view["allowance"]),
            "window_bytes": int(view["window_bytes"]),
            "on_way_bytes": int(view["written_bytes"] - view["acked_bytes"]) if view["frame"] != view["acked"] else 0,
            "rtt_ms": int(view["rtt_ms"]) if view["rtt_window_end_ms"] else None,
            "frame": int(view["frame"]),
            "acked": int(view["acked"]),
            "by_datagrams": bool(view["values"]),
            "budget_bytes": self._looked.budget,
            "due": len(due),
            "oldest_due_ms": self._ms(int(due.max(initial=0))),
            "held": self._looked.held,
            "held_text": HELD[self._looked.held],
            "next_frame": dict(zip(("leaves", "enters", "states", "deltas", "fulls"), counts[:5], strict=True)),
            "mirrored_regions": sorted(1 if region == 0 else region for region in self._core.mirror.regions),
        }

    def _ms(self, ticks: int) -> int:
        return round(max(0, ticks) * 1000 / self._core.facts_fixed.rate_hz)

    def entities(self) -> list[dict[str, Any]]:
        """The entities that the client knows, the nearest first."""
        by_distance = sorted(self._slot_of.items(), key=lambda known: int(self._looked.numbers[known[1], DISTANCE2]))
        return [self._told(row, slot) for row, slot in by_distance[:TOLD_MAX]]

    def _told(self, row: int, i: int) -> dict[str, Any]:
        numbers, before = self._looked.numbers[i], self._looked.before[i]
        due, on_way = bool(numbers[DUE]), bool(numbers[ON_WAY])
        if i in self._leaves:
            why = "leaves"
        elif i in self._updates:
            why = "sent"
        elif not due:
            why = "exact"
        else:
            why = "on_way" if on_way else "waits"
        return {
            **self._who(row),
            "distance_m": round(sqrt(int(numbers[DISTANCE2])) / GRID_PER_M, 2),
            "number": i,
            "level": LEVELS[int(before["level"])],
            "next_level": LEVELS[int(numbers[LEVEL])],
            "due": due,
            "priority": int(numbers[RANK]),
            "waited_frames": int(before["waited"]),
            "age_ms": self._ms(int(numbers[AGE])),
            "why": why,
        }

    def _who(self, row: int) -> dict[str, Any]:
        cold = self._core.mirror.cold[row]
        number, kind = int(cold["id"]), int(cold["kind"])
        return {"entity": str(number), "kind": self._kinds.get(kind, str(kind)), "name": self._names.get(number, "")}

    def not_told(self) -> list[dict[str, Any]]:
        """The nearest of whom the client does not know, with the reason each."""
        hot, view = self._core.mirror.hot, self._looked.view_after
        rows = np.flatnonzero(hot["serial"][: self._core.mirror.high])
        known = np.fromiter(self._slot_of, np.int64, len(self._slot_of))
        rows = rows[~np.isin(rows, known)]
        dx = hot["x"][rows].astype(np.float64) - int(view["x"])
        dz = hot["z"][rows].astype(np.float64) - int(view["z"])
        distance2 = dx * dx + dz * dz
        first = rows[np.argsort(distance2, kind="stable")[:NOT_TOLD_MAX]]
        return [self.of_row(int(row)) for row in first.tolist()]

    def of_entity(self, entity: int) -> dict[str, Any]:
        """Why the client is told of an entity, or why not."""
        row = self._core.mirror.row_of(entity)
        if row < 0:
            regions = ", ".join(str(1 if region == 0 else region) for region in sorted(self._core.mirror.regions))
            text = (
                f"no region that this gateway mirrors ({regions or 'none'}) has it: it is farther away than any "
                "view here sees, has left the world, or never was"
            )
            return {
                "entity": str(entity), "kind": "", "name": self._names.get(entity, ""), "distance_m": None,
                "why": "not_mirrored", "text": text,
            }  # fmt: skip
        slot = self._slot_of.get(row)
        if slot is None:
            return self.of_row(row)
        told = self._told(row, slot)
        return {**told, "text": TOLD[str(told["why"])]}

    def of_row(self, row: int) -> dict[str, Any]:
        """Why the client is not told of a row."""
        hot, view = self._core.mirror.hot[row], self._looked.view_after  # which has followed its body
        dx, dz = int(hot["x"]) - int(view["x"]), int(hot["z"]) - int(view["z"])
        distance2 = dx * dx + dz * dz
        why, text = self._why_not(row, distance2, int(hot["x"]), int(hot["z"]))
        return {**self._who(row), "distance_m": round(sqrt(distance2) / GRID_PER_M, 2), "why": why, "text": text}

    def _why_not(self, row: int, distance2: int, x: int, z: int) -> tuple[str, str]:
        looked, mirror = self._looked, self._core.mirror
        view, after = looked.view, looked.view_after
        if row == view["body"] and mirror.hot["serial"][row] == view["body_serial"]:
            return "own_body", "its own body: told by the own state of each frame, not as an entity"
        if row in self._enters:
            return "enters", "it enters with the next frame"
        radius = int(view["radius"])
        if distance2 > radius * radius:
            return "beyond_radius", f"farther than the view's radius of {_metres(radius):g} m"
        if distance2 > looked.enter_radius2:
            reach_m = sqrt(max(looked.enter_radius2, 0)) / GRID_PER_M
            text = (
                f"{looked.around} are in range and the view may be told of {int(view['cap'])}: the nearest, within "
                f"{reach_m:.1f} m, are"
            )
            if view["crowd_every"]:
                cell_x, cell_z = (int(at // (CROWD_CELL_M * GRID_PER_M)) * CROWD_CELL_M for at in (x, z))
                text += f"; it is counted in the crowd's cell at ({cell_x}, {cell_z}) m"
            return "beyond_cap", text
        height = abs(int(mirror.cold["py"][row]) - int(after["y"]))
        if height > REACH:
            return "out_of_reach", f"more above or below than a record can say ({REACH // GRID_PER_M} m)"
        if int(after["live"]) >= int(view["cap"]):
            return "cap", f"all {int(view['cap'])} places of the view are taken by those who have not left yet"
        if looked.held and looked.held != "turn":
            return "held", f"no frame goes out: {HELD[looked.held]}"
        in_use = int((looked.after["status"] != FREE).sum())
        if in_use >= len(looked.after):
            return "numbers", "all numbers of the stream are in use until leaves are acknowledged"
        return "budget", f"it does not fit the {looked.budget} bytes of the frame, and comes before others next time"


TOLD = {
    "leaves": "it leaves with the next frame",
    "sent": "an update is due and fits the next frame",
    "exact": "what the client has is exact enough for its level: nothing is due",
    "on_way": "an update is on its way, and not acknowledged yet",
    "waits": "an update is due and does not fit the frame: it gains priority with each one",
}


def _metres(units: Any) -> float:
    return round(int(units) / GRID_PER_M, 2)
