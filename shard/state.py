"""All state of a shard in one place, and its dump: what phases work on.

Invariants: everything that decides the future is in columns of the table, in timers, in what is pending, or in a
counter here, so ``dump`` and ``load`` lose nothing but the physics space's contact caches. Not responsible for: the
order of work (``core``).
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kernels.commands import QUEUE, Queues
from kernels.nearby import Cells
from kernels.posing import COLUMNS as POSE_COLUMNS
from kernels.posing import Said
from kernels.publish import Published
from protocol.layouts import GRID_PER_M
from protocol.messages import pack, unpack
from protocol.place import Place, StaticMap
from shard.acting import Acting
from shard.behaviours.api import Script
from shard.behaviours.runner import Pending, Runner
from shard.behaviours.world import World
from shard.border.links import Links
from shard.config import ShardConfig
from shard.gateways import Gateways
from shard.physics.exchange import Exchange
from shard.physics.pool import Pool
from shard.world.attachments import Attachments
from shard.world.components import Registry
from shard.world.hands import kinds_to_hold
from shard.world.past import Past
from shard.world.table import IdBlocks, Table

if TYPE_CHECKING:
    from shard.phases.replay import ReplayMotion

DUMP_FORMAT = 4
DUMP_BYTES_MAX = 1 << 31
FAR_AWAY = 1 << 30
"""A published place that is surely wrong, so that a state is renewed at once."""

_COLUMNS: tuple[tuple[str, str, int], ...] = (
    # queues of walk commands (kernels.commands)
    ("q.seq", "<u4", QUEUE),
    ("q.move_x", "i1", QUEUE),
    ("q.move_z", "i1", QUEUE),
    ("q.yaw", "<u2", QUEUE),
    ("q.buttons", "u1", QUEUE),
    ("q.steps", "u1", QUEUE),
    ("q.queued", "<i8", 0),
    ("q.bank", "<i8", 0),
    ("q.quiet", "<i8", 0),
    ("q.late", "<i8", 0),
    ("q.short", "<i8", 0),
    ("q.calm", "<i8", 0),
    ("q.ahead", "<i8", 0),
    ("q.done", "u1", 0),
    ("q.heard", "u1", 0),
    ("q.newest", "<u4", 0),
    # whose body it is: session 0 is nobody's; ``attached`` 0: the session is away
    ("o.session", "<u8", 0),
    ("o.generation", "<u4", 0),
    ("o.gateway", "<u8", 0),
    ("o.attached", "u1", 0),
    ("o.seq", "<u4", 0),
    ("o.moved", "u1", 0),
    ("o.due", "u1", 0),
    ("o.acted", "<u4", 0),
    ("o.told_seq", "<u4", 0),
    ("o.told_steps", "u1", 0),
    ("o.told_flags", "u1", 0),
    # published states (kernels.publish)
    ("w.version", "<u4", 0),
    ("w.tick", "<i8", 0),
    ("w.p", "<i4", 3),
    ("w.v", "<i2", 3),
    ("w.yaw", "u1", 0),
    ("w.far_version", "<u4", 0),
    ("w.far_tick", "<i8", 0),
    ("w.far_p", "<i4", 3),
    ("w.far_v", "<i2", 3),
    ("w.far_yaw", "u1", 0),
    ("w.state_version", "<u4", 0),
    # to what it is attached (0: nothing), where in that one's frame (metres), and how it is turned there (radians)
    ("h.parent", "<u8", 0),
    ("h.offset", "<f8", 3),
    ("h.turn", "<f8", 0),
    # crossings: first tick at which it may cross from near the border, and at all; the hand-over under way; the item
    # of the channel (region, born, number) that it came with, until that region knows that it arrived
    ("h.rest", "<i8", 0),
    ("h.pause", "<i8", 0),
    ("h.handover", "<i8", 0),
    ("h.from", "<i8", 0),
    ("h.born", "<i8", 0),
    ("h.number", "<i8", 0),
    # of a ghost: the region that tells of it
    ("g.from", "<i8", 0),
)


def open_ground(config: ShardConfig) -> StaticMap:
    """The ground of a world without a place: a bare square."""
    half = round(config.bounds_half_m * GRID_PER_M)
    return StaticMap(bounds=np.array([-half, -half, half, half], np.int32))


class ShardState:
    """The world of one shard, between ticks and during one."""

    def __init__(
        self,
        config: ShardConfig,
        place: Place | None,
        scripts: Sequence[Script],
        options: Mapping[str, Any],
        tick: int,
        pool: Pool | None = None,
    ) -> None:
        self.config = config
        self.place = place
        self.ground = place.ground if place is not None else open_ground(config)
        self.registry = Registry(
            [kind for script in scripts for kind in script.kinds],
            [extra for script in scripts for extra in script.extra],
        )
        self.table = Table(self.registry, config.rows, config.rows_max)
        for name, dtype, width in (*_COLUMNS, *POSE_COLUMNS):
            self.table.add_column(name, dtype, width)
        for component in self.registry.components.values():
            if component.replicate:  # what was last published, to find what changed
                self.table.add_column(f"s.{component.name}", component.dtype, default=component.default)
        self.ids = IdBlocks([(config.first_id, config.id_count)])
        self.exchange = Exchange(
            self.table, self.ground, config.rate_hz, Pool() if pool is None else pool, config.square_m
        )
        self.world = World(
            self.table, self.registry, self.ids, self.ground, place, options, config.seed, config.rate_hz, config.region
        )
        look_back_s = max((script.look_back_s for script in scripts), default=0.0)
        self.past = self.world.past = Past(self.table, round(look_back_s * config.rate_hz))
        self.runner = Runner(scripts, self.registry, self.table, self.world)
        self.runner.pending.started = not config.start
        self.links = Links(config.epoch, config.neighbours)
        self.gateways = Gateways()
        self.acting = Acting(config.durable, config.rate_hz)
        self.attachments = Attachments(self.table)
        self.tick = tick
        self.ticks = 1
        """Ticks that the present step covers."""
        self.seq = 0
        self.spawned = 0
        """Bodies of sessions that were spawned, for the order of spawn points."""
        self.cells: Cells | None = None
        self.row_of_session: dict[int, int] = {}
        self.counted = np.zeros(5, np.int64)
        """Commands: taken, of a wrong row, repeated, dropped, left out."""
        self.owed: list[tuple[int, int]] = []
        """(id, hop) of those who left the world and may still be in the durable store."""
        self.far_slack = 1.0
        self.replay: ReplayMotion | None = None
        self.doomed: list[int] = []
        """Ids of those who leave in the next step: they came in this one, and are told of first; or the durable store
        has them elsewhere."""
        self.former: list[int] = []
        """Regions whose place this one took at tick ``reshaped``."""
        self.reshaped = -1
        self._kinds_walking = [number for number, kind in enumerate(self.registry.kinds, 1) if kind.walker]
        self.kinds_to_hold = kinds_to_hold(self.registry)
        kinds = self.registry.kinds
        self.kind_walks = np.array([False, *(kind.walker for kind in kinds)])
        """By number of a kind."""
        self.kind_is_loose = np.array([False, *(kind.walker or kind.body is None for kind in kinds)])
        """By number of a kind: whether something else than physics moves it."""
        self._kinds_free = [
            number for number, kind in enumerate(self.registry.kinds, 1) if not kind.walker and kind.body is None
        ]
        self.clear_step()

    def clear_step(self) -> None:
        """What one step collects."""
        self.touched: set[str] = set()
        self.said: Said | None = None
        """Head and hands that came in this step."""
        self.attached: list[list[Any]] = []
        self.kept = np.zeros(0, np.int64)
        """Rows of bodies whose gateways are told in this step that they are still here."""
        self.refused: list[list[Any]] = []
        self.events: list[list[Any]] = []
        self.answers: list[list[Any]] = []
        """Of acts, for gateways."""
        self.acting.clear_step()
        self.pushed_rows: list[npt.NDArray[np.int64]] = []
        self.pushed_by: list[npt.NDArray[np.float64]] = []
        self.leave_row: list[int] = []
        self.moved_row: list[int] = []
        self.moved_to: list[int] = []
        self.arrived: list[int] = []
        """Rows that came from a neighbour in this step."""
        self.lost = False
        """Whether somebody knows a newer epoch of this region: then it is another process's."""

    def queues(self) -> Queues:
        """Command queues as the kernels want them; valid until the table grows."""
        c = self.table.columns
        return Queues(*(c[f"q.{name}"] for name in Queues._fields))

    def published(self) -> Published:
        """Published states as the kernels want them; valid until the table grows."""
        c = self.table.columns
        return Published(*(c[f"w.{name}"] for name in Published._fields))

    def walkers(self) -> npt.NDArray[np.int64]:
        """Rows that the walker's rule moves."""
        kinds = self._kinds_walking
        if len(kinds) == 1:
            return self.table.rows(kinds[0])
        return np.sort(np.concatenate([self.table.rows(kind) for kind in kinds]))

    def free_movers(self) -> list[npt.NDArray[np.int64]]:
        """Rows of each kind that has neither a body nor a walker's rule."""
        return [self.table.rows(kind) for kind in self._kinds_free]

    def begin(self, kind: int, ids: npt.NDArray[np.uint64], values: dict[str, Any]) -> npt.NDArray[np.int64]:
        """New entities with these column values; behaviours hear of them in the next tick. Raises TableFullError."""
        rows = self.table.begin(kind, ids)
        for name, value in values.items():
            column = self.table.columns[name if name in ("pos", "vel", "yaw", "spin") else f"c.{name}"]
            column[rows] = value
        self.runner.pending.enter.extend(ids.tolist())
        return rows

    def end(self, rows: npt.NDArray[np.int64]) -> None:
        """These entities leave."""
        if not len(rows):
            return
        table = self.table
        if self.arrived:
            early = np.isin(rows, self.arrived)
            self.doomed.extend(table.id[rows[early]].tolist())
            rows = rows[~early]
        known = rows[table.columns["w.version"][rows] != 0]
        self.leave_row.extend(known.tolist())
        if self.config.leaves is not None:  # where they came from the store may still have them
            came = rows[table.hop[rows] > 0]
            self.owed += zip(table.id[came].tolist(), table.hop[came].tolist(), strict=True)
        for kind in np.unique(table.kind[rows]).tolist():
            self.runner.pending.leave.append((kind, table.id[rows[table.kind[rows] == kind]].tolist()))
        table.end(rows)

    def end_body(self, row: int) -> None:
        """An entity leaves, and its session, if it has one, has no body any more."""
        session = int(self.table.columns["o.session"][row])
        if session:
            if self.row_of_session.get(session) == row:
                del self.row_of_session[session]
            for name in ("o.session", "o.attached"):
                self.table.columns[name][row] = 0
            self.acting.forget(session)
        self.end(np.array([row], np.int64))

    def told_attached(self, row: int) -> None:
        """The session of a body is told where it is."""
        table = self.table
        who = [int(table.columns[name][row]) for name in ("o.session", "o.generation")]
        where = int(table.id[row]), row, int(table.generation[row])
        last = [int(table.columns[name][row]) for name in ("o.gateway", "o.acted")]
        self.attached.append([*who, *where, *last])

    def dump(self) -> bytes:
        """Everything, as bytes (msgpack). Equal worlds have equal dumps."""
        pending = self.runner.pending
        state = {
            "format": DUMP_FORMAT,
            "seed": self.config.seed,
            "schema": self.registry.schema_hash,
            "tick": self.tick,
            "seq": self.seq,
            "spawned": self.spawned,
            "ids": self.ids.state(),
            "table": self.table.state(),
            "timers": self.runner.timers.state(),
            "pending": [pending.started, pending.enter, pending.leave, pending.messages],
            "disabled": [b.name for b in self.runner.behaviours if not b.enabled],
            "looks_around": self.world.looks_around,
            "doomed": self.doomed,
            "owed": self.owed,
            "links": self.links.state(),
            "gateways": self.gateways.state(),
            "acting": self.acting.state(),
        }
        return pack(state)

    def load(self, data: bytes) -> None:
        """Take the state of a dump made with the same declarations. Raises ValueError if it is another world's or
        damaged."""
        state = unpack(data, DUMP_BYTES_MAX)
        if not isinstance(state, dict) or state.get("format") != DUMP_FORMAT:
            raise ValueError(f"not a dump of format {DUMP_FORMAT}")
        if state["schema"] != self.registry.schema_hash or state["seed"] != self.config.seed:
            raise ValueError("the dump is of a world with another seed or other replicated components")
        self.tick, self.seq, self.spawned = state["tick"], state["seq"], state["spawned"]
        self.ids = IdBlocks((first, end - first) for first, end in state["ids"])
        self.world.ids = self.ids
        self.table.load(state["table"])
        self.runner.timers.load(state["timers"])
        started, enter, leave, messages = state["pending"]
        self.runner.pending = Pending(
            started, list(enter), [(kind, ids) for kind, ids in leave], [(t, ids, p) for t, ids, p in messages]
        )
        for behaviour in self.runner.behaviours:
            behaviour.enabled = behaviour.name not in state["disabled"]
        self.world.looks_around = state["looks_around"]
        self.doomed = list(state["doomed"])
        self.owed = [(id_, hop) for id_, hop in state["owed"]]
        self.links.load(state["links"])
        self.gateways.load(state["gateways"])
        self.acting.load(state["acting"])
        self.row_of_session = {
            int(self.table.columns["o.session"][row]): int(row)
            for row in self.table.rows()
            if self.table.columns["o.session"][row]
        }
        self.exchange.rebuild()

    def hash(self) -> str:
        """128 bits (hex) of the whole state: equal for equal worlds."""
        return hashlib.blake2b(self.dump(), digest_size=16).hexdigest()
