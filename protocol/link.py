"""What gateways and shards tell each other: one message each way per tick, in columns (also within one process).

``RegionDelta`` goes from a shard to each subscribed gateway, encoded once. ``Upward`` goes from a gateway to a shard.
Invariants: ``seq`` of a delta counts up by one per subscriber; a gap, or an older epoch, makes a gateway subscribe
anew and get
a snapshot. Rows are the shard's; with their generation they name an entity inside one shard. Peers are trusted (they
hold the
cluster's key), yet ``decode`` raises :class:`ProtocolViolation` on malformed bytes. Not responsible for: transport of
bytes.
"""

from dataclasses import dataclass, field, fields
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt

from protocol.codes import ProtocolViolation
from protocol.layouts import COMMAND
from protocol.messages import pack, unpack
from protocol.pose_layout import PARTS, SAMPLE

LINK_BYTES_MAX = 64 << 20
FAR_RENEWED = 1
"""Flag of a renewed row: the far level was renewed with it."""

Array = npt.NDArray[Any]


def _column(dtype: str, width: int = 0) -> Any:
    """A dataclass field holding a column: ``dtype`` and, for two-dimensional ones, the row width."""
    empty = np.zeros((0, width) if width else 0, dtype)  # shared: there is nothing in it to change
    return field(default_factory=lambda: empty, metadata={"dtype": dtype, "width": width})


class _Columns:
    """Encoding by the field list: columns as bin, everything else as plain msgpack values."""

    def encode(self) -> bytes:
        """Msgpack array of all fields in the order of their declaration."""
        out: list[Any] = []
        for name, dtype, _ in _declared(type(self)):
            value = getattr(self, name)
            out.append(value if dtype is None else np.asarray(value, dtype).tobytes())
        return pack(out)

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Self:
        """Inverse of :meth:`encode`; columns are views of ``data``. Raises ProtocolViolation."""
        items = unpack(data, LINK_BYTES_MAX)
        declared = _declared(cls)
        if type(items) is not list or len(items) != len(declared):
            raise ProtocolViolation("link", f"{cls.__name__}: {len(declared)} items were expected")
        values: dict[str, Any] = {}
        for (name, dtype, width), value in zip(declared, items, strict=True):
            if dtype is not None:
                try:
                    value = np.frombuffer(value, dtype)
                    if width:
                        value = value.reshape(-1, width)
                except (ValueError, TypeError) as error:
                    raise ProtocolViolation("link", f"{cls.__name__}.{name}: {error}") from None
            values[name] = value
        return cls(**values)


_Declared = tuple[tuple[str, np.dtype[Any] | None, int], ...]
_known: dict[type, _Declared] = {}


def _declared(cls: type) -> _Declared:
    """Name, dtype (None: no column) and row width of each field of a dataclass, in order; looked up once."""
    found = _known.get(cls)
    if found is None:
        found = _known[cls] = tuple(
            (f.name, np.dtype(f.metadata["dtype"]), f.metadata["width"]) if "dtype" in f.metadata else (f.name, None, 0)
            for f in fields(cast(Any, cls))
        )
    return found


@dataclass(slots=True)
class RegionDelta(_Columns):
    """What changed in one region in one tick, in the order leaves, enters, renewals, states, owns.

    Columns by row (uint32, the shard's): ``leave_*`` rows that ended; ``moved_*`` rows whose entities went over to
    another region (int64 ``moved_to``) and go on there with the same id, a higher hop, the same versions and published
    states; ``enter_*`` new ones (their published state is among the renewals); ``row, version, p, v, yaw, age, flags``
    renewed published states (version counts up per row; record tick is tick − age); ``state_*`` changed components
    (``changed`` blob and ``full`` blob, msgpack maps; ``state_version`` counts up per row); ``own_*`` for bodies of
    sessions. In a snapshot every entity enters, and ``far_*`` gives the far level's published state of each row in
    ``row`` (outside snapshots these are empty: flag FAR_RENEWED says it all). ``born``: the epoch at which the region
    began anew, with other rows and numbers; a planned move keeps it. ``former``: of a snapshot, regions whose place
    this one has lately taken by a split or merge; what they held is here with the same hops.
    """

    region: int
    epoch: int
    seq: int
    tick: int
    snapshot: bool = False
    born: int = 0
    former: list[int] = field(default_factory=list)
    leave_row: Array = _column("<u4")
    moved_row: Array = _column("<u4")
    moved_to: Array = _column("<i8")
    enter_row: Array = _column("<u4")
    enter_generation: Array = _column("<u4")
    enter_id: Array = _column("<u8")
    enter_kind: Array = _column("<u2")
    enter_hop: Array = _column("<u4")
    enter_state_version: Array = _column("<u4")
    enter_blob_bytes: Array = _column("<u2")
    enter_blobs: bytes = b""
    row: Array = _column("<u4")
    version: Array = _column("<u4")
    p: Array = _column("<i4", 3)
    v: Array = _column("<i2", 3)
    yaw: Array = _column("u1")
    age: Array = _column("<u2")
    flags: Array = _column("u1")
    far_version: Array = _column("<u4")
    far_p: Array = _column("<i4", 3)
    far_v: Array = _column("<i2", 3)
    far_yaw: Array = _column("u1")
    far_age: Array = _column("<u2")
    state_row: Array = _column("<u4")
    state_version: Array = _column("<u4")
    state_changed_bytes: Array = _column("<u2")
    state_full_bytes: Array = _column("<u2")
    state_blobs: bytes = b""
    """All changed blobs, then all full blobs."""
    own_row: Array = _column("<u4")
    own_seq: Array = _column("<u4")
    own_steps: Array = _column("u1")
    own_flags: Array = _column("u1")
    own_p: Array = _column("<i4", 3)
    own_v: Array = _column("<i2", 3)
    attached: list[list[Any]] = field(default_factory=list)
    """[session, generation, entity id, row, row generation, gateway, acted] for each body given to a session, or come
    over with one; ``gateway``: whose session it is; ``acted``: the newest number of an act that it has taken."""
    kept_row: Array = _column("<u4")
    """``kept_*``: of bodies that are where they were, a part each second: a gateway hears of one that it does not want,
    and one that missed where its body is hears of that."""
    kept_row_generation: Array = _column("<u4")
    kept_id: Array = _column("<u8")
    kept_session: Array = _column("<u8")
    kept_generation: Array = _column("<u4")
    kept_gateway: Array = _column("<u8")
    kept_acted: Array = _column("<u4")
    refused: list[list[Any]] = field(default_factory=list)
    """[session, close code, text] for each session that got no body."""
    events: list[list[Any]] = field(default_factory=list)
    """[session or nil (all), entity id or nil, name, payload] said by behaviours."""
    answers: list[list[Any]] = field(default_factory=list)
    """[session, number, code, value, gateway] for each act whose answer may be told now."""
    heard: list[list[int]] = field(default_factory=list)
    """[gateway, newest Upward had, bits: k set if the one ``newest - k`` was had] for each subscriber."""
    schema: Any = None
    """{"kinds": …, "components": …} in the first delta, in snapshots, and when it changed."""
    pose_row: Array = _column("<u4")
    """``pose_*``: renewed head and hands (``kernels.posing.Told``): of each row, levels renewed (``flags``) and how
    many of the near samples are its; mid samples are those of the rows whose mid level was renewed, in order."""
    pose_flags: Array = _column("u1")
    pose_count: Array = _column("u1")
    pose_near_p: Array = _column("<u4", PARTS)
    pose_near_q: Array = _column("<u4", PARTS)
    pose_near_meta: Array = _column("u1", 4)
    pose_mid_head: Array = _column("<u4")
    pose_mid_hand: Array = _column("<u2", 2)


@dataclass(slots=True)
class Upward(_Columns):
    """What one gateway tells the owner of one region in one tick.

    ``epoch``: the region's newest that the gateway has seen (0: none); an owner of an older one has lost it.
    ``heard_seq``: newest RegionDelta applied (0: none), so that a subscriber who falls behind shows.
    ``subscribe``: begin anew with a snapshot; ``unsubscribe``: send no more.

    ``attach``: [session, generation, name, kind, profile, body id or 0]: give this session a body, or its old one;
    kind 0: its old one if the region has it, and else do nothing.
    ``detach``: [session, generation, remove the body?, body id or 0 (whichever the session has)].
    ``acts``: [session, generation, number, name, payload, body id, first, oldest, newest]; all of the session's acts
    below ``first`` have been answered; its client can have shown ticks from ``oldest`` to ``newest`` when it said this
    (absent: not known). ``input_*``: commands
    in arrival order; several for one row are in order of their seq (the last command's ``seq`` is that of the row's
    newest).
    """

    gateway: int
    seq: int
    tick: int
    region: int = 0
    epoch: int = 0
    heard_seq: int = 0
    subscribe: bool = False
    unsubscribe: bool = False
    attach: list[list[Any]] = field(default_factory=list)
    detach: list[list[Any]] = field(default_factory=list)
    acts: list[list[Any]] = field(default_factory=list)
    input_row: Array = _column("<u4")
    input_generation: Array = _column("<u4")
    input_seq: Array = _column("<u4")
    input_command: Array = field(default_factory=lambda: np.zeros(0, COMMAND), metadata={"dtype": COMMAND, "width": 0})
    pose_row: Array = _column("<u4")
    """``pose_*``: newest head and hands of bodies; ``pose_sample`` (pose_layout.SAMPLE) are those of the first row,
    then of the next, as many of each as ``pose_count`` says. Never said again."""
    pose_generation: Array = _column("<u4")
    pose_count: Array = _column("u1")
    pose_sample: Array = _column("u1", SAMPLE.itemsize)
