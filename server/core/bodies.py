"""Where the bodies of this gateway's sessions are: what regions say of them, and the mirror shows.

Decides which region is asked for a body, when one that nobody has is looked for elsewhere and when it counts as lost,
and when a session that waits for its body is let in. Invariant: what is said for a body goes to the region, row and
generation where the mirror has it. Not responsible for: who has which session (``server.session``), what is said
(``inputs``, ``acting``, ``poses``).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from cluster.partition import Partition
from cluster.regions import MARGIN_M
from protocol.layouts import GRID_PER_M
from protocol.link import RegionDelta
from server.core.arrivals import U64
from server.core.mirror import NOWHERE, Mirror
from server.core.regions import Gone, Regions, touched
from server.core.views import Views
from server.session.actions import Action, AttachBody, DetachBody, OpenView
from server.session.sessions import Sessions

ALONE = 0
"""The number of the only region of a world without borders."""
SEEK_S = 0.5
"""A body that is nowhere for so long is lost: an entity on its way is at most some ticks between two regions. While
nobody speaks for a region where it may be, it waits for the region's next owner."""
SHOW_S = 0.5
"""A session waits so long at most until its body can be shown: less than its former gateway lets it look on."""
FIND_S = 1.5
"""A body that no region has had for so long is gone: its session begins anew. Asked three times meanwhile. Nobody is
called gone while a region has no owner that can be reached."""
NOBODY = 0
"""No gateway's number: of a body that no gateway has asked for since its region was loaded."""


class Bodies:
    """Of all connections in [0, ``capacity``) of ``gateway``.

    ``region`` (int64[N], NOWHERE: none that is known), ``row`` and ``generation`` (uint32[N]): where a body is;
    ``steers`` (bool[N]): whether the client of this connection may move it; ``session_generation`` (uint32[N]).
    ``spawn_m``: places (x, z) where newcomers begin. ``do(actions, now_s)`` carries out what sessions want;
    ``again(conn)``: say what may not have been heard where the body was.
    """

    def __init__(
        self,
        capacity: int,
        gateway: int,
        partition: Partition | None,
        spawn_m: tuple[tuple[float, float], ...],
        mirror: Mirror,
        views: Views,
        regions: Regions,
        sessions: Sessions,
        do: Callable[[list[Action], float], None],
        again: Callable[[int], None],
    ) -> None:
        self._gateway, self._partition, self._spawn_m = gateway, partition, spawn_m
        self._mirror, self._views, self._regions, self._sessions = mirror, views, regions, sessions
        self._do, self._again = do, again
        self.region = np.full(capacity, NOWHERE, np.int64)
        self.row = np.zeros(capacity, np.uint32)
        self.generation = np.zeros(capacity, np.uint32)
        self.steers = np.zeros(capacity, np.bool_)
        self.session_generation = np.zeros(capacity, np.uint32)
        self._session_at = np.zeros(capacity, np.uint64)
        self._body_of: dict[int, int] = {}
        self._session_of: dict[int, int] = {}
        self._conn_of: dict[int, int] = {}
        self.body_of: Mapping[int, int] = MappingProxyType(self._body_of)
        """Entity by connection."""
        self.session_of: Mapping[int, int] = MappingProxyType(self._session_of)
        """Session by connection."""
        self.conn_of: Mapping[int, int] = MappingProxyType(self._conn_of)
        """Connection by session."""
        self._kept: dict[int, tuple[int, int]] = {}
        """Of each session that asked for a body: the region that was asked, and the body given (0: none yet)."""
        self._unseen: set[int] = set()
        self._homing: dict[int, tuple[int, int, int]] = {}
        """Connections whose bodies were given in a region, row and generation where the mirror has none yet."""
        self._missing_s: dict[int, float] = {}
        self._sought: dict[int, tuple[AttachBody, float]] = {}
        self._arriving: dict[int, tuple[int, list[Any], float]] = {}
        """Sessions whose body a region has given, and which wait until it can be shown: region, entry, since when."""
        self._attaches = 0
        self._speaking = NOWHERE
        self.spawns = self._spawn_regions()
        """Regions where newcomers begin."""

    @property
    def asked(self) -> int:
        """For metrics: sessions of whose bodies is known where they were asked for."""
        return len(self._kept)

    @property
    def session_at(self) -> U64:
        """The session of each connection, uint64[capacity]; of one that is closed, its last."""
        return self._session_at

    def _spawn_regions(self) -> tuple[int, ...]:
        if self._partition is None:
            return (ALONE,)
        x_m, z_m = np.array(self._spawn_m).T
        return tuple(dict.fromkeys(self._partition.region_at(x_m, z_m).tolist()))

    def regroup(self, partition: Partition) -> None:
        """Regions were split or merged; ``gone`` follows for each of them."""
        self._partition = partition
        self.spawns = self._spawn_regions()

    def gone(self, gone: Gone, partition: Partition, now_s: float) -> None:
        """A region is no more: those in its place have what it had."""
        self.region[self.region == gone.number] = NOWHERE
        for conn in gone.conns:
            self._again(conn)
        for session, generation, name, kind, profile, body in gone.attach:
            # Perhaps it was given a body in the last moment: nobody makes another one before that is known.
            ask = AttachBody(session, generation, name, kind, profile, body)
            self._sought[session] = ask, now_s + FIND_S
            self._seek(ask, partition)
        self._kept = {
            session: (gone.heirs[0] if region == gone.number else region, body)
            for session, (region, body) in self._kept.items()
        }
        self._homing = {conn: entry for conn, entry in self._homing.items() if entry[0] != gone.number}
        self._arriving = {s: entry for s, entry in self._arriving.items() if entry[0] != gone.number}

    # --------------------------------------------------------------------------------------------- what regions said
    def told(self, delta: RegionDelta, now_s: float) -> None:
        """The bodies that a region says it has."""
        self._speaking = delta.region
        for entry in delta.attached:
            self._attached(delta.region, entry, now_s)
        if self._arriving:
            self.let_in(now_s)
        if len(delta.kept_row):
            self._still_there(delta, now_s)

    def show(self, afresh: bool) -> None:
        """Let views follow bodies that the mirror has by now; ``afresh``: their rows may be others than before."""
        if afresh:
            self._unseen.update(self._body_of)
        for conn in list(self._unseen):
            self._show_body(conn)
        for conn in list(self._homing):
            self._come_home(conn)

    def _attached(self, region: int, entry: list[Any], now_s: float) -> None:
        """A region says that a session's body is there: newly made, given again, or come over a border."""
        session, generation, entity, row, row_generation, gateway = entry[:6]
        conn = self._conn_of.get(session)
        mine = gateway == self._gateway
        if gateway == NOBODY and not mine:  # it is back from the durable store, and waits for whoever has its session
            ask = self._sessions.reclaims(session, entity)
            if ask is not None:
                self._ask(ask, region, now_s)
            elif conn is not None and self._sessions.disowns(session, entity):
                self._regions.link(region).detach.append([session, generation, True, entity])
        elif not mine:
            self._do(self._sessions.elsewhere(session, generation, gateway, now_s), now_s)
        elif self._sessions.disowns(session, entity):
            # It left before it got the body, or the body crossed a border before it heard of that.
            self._regions.link(region).detach.append([session, generation, True, entity])
        elif conn is None or self._body_of.get(conn) != entity:
            self._regions.want(region, now_s)  # one that was only asked whether it has the body, perhaps
            if self._mirror.home_of(entity) == region or not self._sessions.awaits(session, generation):
                self._give(region, entry, now_s)
            else:
                since_s = self._arriving[session][2] if session in self._arriving else now_s
                self._arriving[session] = region, entry, since_s
        else:
            self._homing[conn] = region, row, row_generation
            self._come_home(conn)
            ask = self._sessions.reclaims(session, entity) if generation < self.session_generation[conn] else None
            if ask is not None:
                # It is back from the durable store, and was given on what this gateway had asked for an earlier
                # connection: it takes no acts of this one.
                self._ask(ask, region, now_s)

    def _come_home(self, conn: int) -> None:
        """What is said for a body goes where it was given, as soon as the mirror has it there: of a region that began
        behind a crash that may be told before its snapshot has come, or its neighbour's."""
        region, row, row_generation = self._homing[conn]
        if not self._mirror.is_at(self._body_of[conn], region, row):
            return
        del self._homing[conn]
        before = self.region[conn], self.row[conn], self.generation[conn]
        if before != (region, row, row_generation):
            self.region[conn], self.row[conn] = region, row
            self.generation[conn] = row_generation
            self._again(conn)

    def let_in(self, now_s: float) -> None:
        """Those whose body can be shown now: until then their former gateway shows them the world, if they have one."""
        for session, (region, entry, since_s) in list(self._arriving.items()):
            awaited = self._sessions.awaits(session, entry[1])
            if awaited and self._mirror.home_of(entry[2]) != region and now_s - since_s < SHOW_S:
                continue
            del self._arriving[session]
            if awaited:
                self._give(region, entry, now_s)

    def _give(self, region: int, entry: list[Any], now_s: float) -> None:
        session, generation, entity, row, row_generation, _, acted = entry
        self._speaking = region
        self._do(self._sessions.attached(session, generation, entity, row, row_generation, now_s, acted), now_s)

    def _still_there(self, delta: RegionDelta, now_s: float) -> None:
        """A region says that bodies are there still: looked at one by one are those that are not as they are known."""
        rows = self._mirror.rows_of(delta, delta.kept_row)
        conn = np.where(rows >= 0, self._mirror.view_of[rows], -1)
        mine = delta.kept_gateway == self._gateway
        as_known = (
            mine & (conn >= 0) & (self._session_at[conn] == delta.kept_session)
            & (self.region[conn] == delta.region) & (self.row[conn] == delta.kept_row)
            & (self.generation[conn] == delta.kept_row_generation)
            & (self.session_generation[conn] == delta.kept_generation)
        )  # fmt: skip
        nobodys = ~mine & ~np.isin(delta.kept_session, self._sessions.numbers)
        told = (
            delta.kept_session, delta.kept_generation, delta.kept_id, delta.kept_row, delta.kept_row_generation,
            delta.kept_gateway, delta.kept_acted,
        )  # fmt: skip
        for index in np.flatnonzero(~(as_known | nobodys)).tolist():
            self._attached(delta.region, [int(column[index]) for column in told], now_s)

    # ------------------------------------------------------------------------------------------------ looking for one
    def _show_body(self, conn: int) -> None:
        """Let the view follow its body, if the mirror has it."""
        row = self._mirror.row_of(self._body_of[conn])
        if row >= 0:
            self._unseen.discard(conn)
            self._missing_s.pop(conn, None)
            self._views.set_body(conn, row, self._mirror)

    def look(self, now_s: float) -> None:
        """Bodies that the mirror has no more: shown again if they are there, given up after SEEK_S."""
        conns = self._sessions.live_conns
        if not len(conns):
            return
        views = self._views.state.views[conns]
        there = self._mirror.hot["serial"][np.maximum(views["body"], 0)] == views["body_serial"]
        for conn in conns[(views["body"] >= 0) & ~there].tolist():
            self._unseen.add(conn)
        for conn in list(self._unseen):
            self._show_body(conn)
        for conn in self._unseen:
            if self._may_be_away(conn, now_s):
                self._missing_s[conn] = now_s
        lost = [conn for conn in self._unseen if now_s - self._missing_s.setdefault(conn, now_s) >= SEEK_S]
        for conn in lost:
            if conn in self._unseen:  # else it has ended with another one
                self._do(self._sessions.body_lost(self._session_of[conn], now_s), now_s)

    def _may_be_away(self, conn: int, now_s: float) -> bool:
        """Whether a body was last seen in, or near, a region for which nobody speaks now."""
        if self._partition is None:
            return False
        view = self._views.state.views[conn : conn + 1]
        near = touched(self._partition, view["x"] / GRID_PER_M, view["z"] / GRID_PER_M, MARGIN_M)
        return any(self._regions.is_away(region, now_s) for region in near)

    def _seek(self, ask: AttachBody, partition: Partition) -> None:
        """Whichever region has the body shall give it; none is to make another one, so they are told no kind."""
        for region in partition.all():
            entry = [ask.session, ask.generation, ask.name, 0, ask.profile, ask.body or 0]
            self._regions.link(region).attach.append(entry)

    def seek_on(self, now_s: float) -> None:
        """Ask again for bodies that no region has given yet; after FIND_S for a new one."""
        if self._partition is None:
            return
        for session, (ask, until_s) in list(self._sought.items()):
            if not self._sessions.awaits(session, ask.generation):
                del self._sought[session]
            elif any(map(self._regions.unreachable, self._partition.all())):
                self._sought[session] = ask, now_s + FIND_S
                self._seek(ask, self._partition)
            elif now_s < until_s or session in self._arriving:
                self._seek(ask, self._partition)
            else:
                del self._sought[session]
                self._ask(ask, self._spawn_region(), now_s)

    # --------------------------------------------------------------------------------------------- what sessions want
    def attach(self, ask: AttachBody, now_s: float) -> None:
        """To the region where the body is; if nobody knows, all are asked. A new one begins where newcomers do."""
        home = self._mirror.home_of(ask.body) if ask.body else NOWHERE
        if ask.body and home == NOWHERE and self._partition is not None:
            self._sought[ask.session] = ask, now_s + FIND_S
            self._kept[ask.session] = self.spawns[0], ask.body
            self._seek(ask, self._partition)
        else:
            self._ask(ask, self._spawn_region() if home == NOWHERE else home, now_s)

    def _ask(self, ask: AttachBody, region: int, now_s: float) -> None:
        self._kept[ask.session] = region, ask.body or 0
        self._regions.want(region, now_s)
        entry = [ask.session, ask.generation, ask.name, ask.kind, ask.profile, ask.body or 0]
        self._regions.link(region).attach.append(entry)

    def _spawn_region(self) -> int:
        self._attaches += 1
        return self.spawns[self._attaches % len(self.spawns)]

    def detach(self, detach: DetachBody) -> None:
        """To the region where the body is; if nobody knows, to the one that was asked for it."""
        asked, body = self._kept.get(detach.session, (self.spawns[0], 0))
        home = self._mirror.home_of(body) if body else NOWHERE
        region = asked if home == NOWHERE else home
        if detach.remove:
            self._kept.pop(detach.session, None)
        self._regions.link(region).detach.append([detach.session, detach.generation, detach.remove, body])

    def forget(self, session: int) -> None:
        """The session went elsewhere with its body."""
        self._kept.pop(session, None)

    def open(self, action: OpenView) -> None:
        """A connection has a session, and perhaps a body."""
        conn = action.conn
        self._session_of[conn], self._conn_of[action.session] = action.session, conn
        self._session_at[conn] = action.session
        self.session_generation[conn] = action.generation
        if action.body is not None:
            self.steers[conn] = True
            self.region[conn] = self._speaking
            self.row[conn], self.generation[conn] = action.row, action.row_generation
            self._body_of[conn] = action.body
            self._kept[action.session] = self._speaking, action.body
            self._unseen.add(conn)

    def release(self, conn: int) -> None:
        """The client looks on, and moves nothing any more."""
        self.steers[conn] = False
        self.region[conn] = NOWHERE

    def close(self, conn: int) -> None:
        """The connection has no session any more."""
        self.release(conn)
        self._conn_of.pop(self._session_of.pop(conn, 0), None)
        self._body_of.pop(conn, None)
        self._unseen.discard(conn)
        self._homing.pop(conn, None)
        self._missing_s.pop(conn, None)

    def place_of(self, body: int | None) -> tuple[int, int, int]:
        """Where a view begins, grid units: at its body, or where newcomers begin."""
        row = -1 if body is None else self._mirror.row_of(body)
        if row >= 0:
            cold = self._mirror.cold[row]
            return int(cold["px"]), int(cold["py"]), int(cold["pz"])
        if self._partition is None:
            return 0, 0, 0
        square = self._partition.square(self.spawns[0])
        return (
            round((square.x0 + square.x1) / 2 * GRID_PER_M),
            0,
            round((square.z0 + square.z1) / 2 * GRID_PER_M),
        )
