"""What two neighbouring regions tell each other: one ``Border`` message each way per tick, and the ``Channel`` in it.

A message has *values* (all ghosts near the border, in columns; the newest message wins) and *items* (acts and
hand-overs; each exactly once, in order). Invariants: an item is applied once, in order, whatever links lose, repeat or
reorder, as long as the receiver's region lives or moves by plan; a receiver that knows nothing begins at ``base``
(docs/CLUSTER.md, "Reliable words between two regions"); ``decode`` raises :class:`ProtocolViolation` and nothing else.
Not responsible for: epochs beyond carrying them, and what items mean (``shard.border``).
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Self

import msgspec

from protocol.codes import ProtocolViolation
from protocol.link import Array, _column, _Columns

INT_MAX = 2**63 - 1
WINDOW_ITEMS = 256
"""Most items in one message: what one tick brings forth at the busiest border, several times over."""
WINDOW_BYTES = 1 << 20
"""Most bytes of items in one message, beyond the first: links carry 64 MB at most, and other messages wait."""
ITEMS_MAX = 4096
"""Items that one channel keeps unacknowledged: about a minute of silence at a busy border."""
ACTS_MAX = 3072
"""Acts stop here: the rest is for words of hand-overs, whose number is bounded by how many may be under way."""
ACT_BYTES_MAX = 256 << 10
"""Of one act: what a behaviour says to a neighbour travels with everything else, and again until it is acknowledged."""
ACTS_BYTES_MAX = 16 << 20
"""Of all items of a channel, for acts: beyond, the neighbour must acknowledge first."""


class ChannelFullError(RuntimeError):
    """The neighbour has not acknowledged enough, or an act is too large: the item is not taken, and whoever did the act
    is told."""


# ---------------------------------------------------------------------------------------------------------------- items
class Prepare(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """May ``ids`` come over? ``hops``: the hop that each will have; ``layout``: names what columns they have."""

    handover: int
    ids: list[int]
    hops: list[int]
    layout: bytes


class Accept(msgspec.Struct, array_like=True, tag=2, frozen=True):
    """Room is kept."""

    handover: int


class Refuse(msgspec.Struct, array_like=True, tag=3, frozen=True):
    """They stay where they are; ``reason`` is for people."""

    handover: int
    reason: str


class Cancel(msgspec.Struct, array_like=True, tag=4, frozen=True):
    """A prepare is taken back."""

    handover: int


class Commit(msgspec.Struct, array_like=True, tag=5, frozen=True):
    """The group itself: ``rows`` its number, ``columns`` [name, dtype, data] of all its columns, ``timers`` as the
    shard keeps them, ``entered`` ids that behaviours have not been told of, ``messages`` [topic, ids, payload] that
    wait for them, ``answers`` [session, [[number, answer], …]] that bodies remember."""

    handover: int
    rows: int
    columns: list[tuple[str, str, bytes]]
    timers: bytes
    entered: list[int]
    messages: list[tuple[str, list[int], Any]]
    answers: list[tuple[int, list[tuple[int, bytes]]]] = []


class Push(msgspec.Struct, array_like=True, tag=6, frozen=True):
    """Move bodies of people by (x, z) metres."""

    ids: list[int]
    metres: list[tuple[float, float]]


class Message(msgspec.Struct, array_like=True, tag=7, frozen=True):
    """A message of a behaviour to entities."""

    topic: str
    ids: list[int]
    payload: Any


class Despawn(msgspec.Struct, array_like=True, tag=8, frozen=True):
    """These leave the world."""

    ids: list[int]


class SetTimers(msgspec.Struct, array_like=True, tag=9, frozen=True):
    """Timers for entities."""

    due: int
    topic: str
    ids: list[int]
    values: list[int]


class Tell(msgspec.Struct, array_like=True, tag=10, frozen=True):
    """An event about an entity, for the clients."""

    entity: int
    name: str
    payload: Any


class Inputs(msgspec.Struct, array_like=True, tag=11, frozen=True):
    """Commands that came to where the bodies were before: ``seqs`` and ``commands`` (COMMAND, 8 bytes each)."""

    ids: list[int]
    seqs: list[int]
    commands: bytes


class AttachBody(msgspec.Struct, array_like=True, tag=12, frozen=True):
    """A session asked for its body where that was before: an entry of ``Upward.attach`` whose body is not 0."""

    session: int
    generation: int
    name: str | None
    kind: str | int | None
    profile: str
    body: int
    gateway: int


class DetachBody(msgspec.Struct, array_like=True, tag=13, frozen=True):
    """A session left its body, which is not where it was."""

    session: int
    generation: int
    remove: bool
    body: int
    gateway: int


class Acted(msgspec.Struct, array_like=True, tag=14, frozen=True):
    """An act of a session that came to where its body was before: an entry of ``Upward.acts``."""

    session: int
    generation: int
    number: int
    name: str
    payload: Any
    body: int
    first: int
    seen: tuple[int, int] | None = None


Item = (
    Prepare | Accept | Refuse | Cancel | Commit | Push | Message | Despawn | SetTimers | Tell | Inputs | AttachBody
    | DetachBody | Acted
)  # fmt: skip
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Item] = msgspec.msgpack.Decoder(Item)


def encode_item(item: Item) -> bytes:
    """Msgpack array whose first value is the item's number. Raises TypeError or ValueError for a payload that msgpack
    cannot carry."""
    try:
        return _encoder.encode(item)
    except (msgspec.MsgspecError, OverflowError, RecursionError) as error:
        raise ValueError(f"cannot be carried: {error}") from None


def decode_item(data: bytes) -> Item:
    """Inverse of :func:`encode_item`. Raises ProtocolViolation."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise ProtocolViolation("border", f"an item is malformed: {error}") from None


# -------------------------------------------------------------------------------------------------------------- message
_NUMBERS = (
    "source", "target", "epoch", "target_epoch", "born", "tick", "base", "ack_born", "ack", "safe", "former_born",
    "former_last", "hold", "held",
)  # fmt: skip


@dataclass(slots=True)
class Border(_Columns):
    """What region ``source`` tells region ``target`` in one tick.

    ``epoch`` of the source, ``target_epoch`` as the source knows it (0: unknown); ``born`` names the source's channel,
    ``items`` are numbered from ``base`` on; ``ack_born`` and ``ack`` acknowledge the target's items up to ``ack``: need
    not be said again; ``safe``: up to here they are durable, and need not be kept. ``former_born`` and ``former_last``:
    what the channel goes on from after a crash, items up to that number are the same ones in both (0: from nothing).
    ``hold``: the source is about to be split or merged, and nothing new is to be said between the two (0: it is not);
    ``held``: the target's ``hold`` that is kept: all that was said either way is durable where it went, and nothing
    more will be said until the target says another ``hold``, or is gone.
    ``ghost_*``: all entities near the target's square at ``tick``, metres, m/s, rad, rad/s; ``components``: [name,
    dtype, data], one value for each ghost in order.
    """

    source: int
    target: int
    epoch: int
    target_epoch: int
    born: int
    tick: int
    base: int = 1
    ack_born: int = 0
    ack: int = 0
    safe: int = 0
    former_born: int = 0
    former_last: int = 0
    items: list[bytes] = field(default_factory=list)
    hold: int = 0
    held: int = 0
    ghost_id: Array = _column("<u8")
    ghost_hop: Array = _column("<u4")
    ghost_kind: Array = _column("<u2")
    ghost_pos: Array = _column("<f8", 3)
    ghost_vel: Array = _column("<f8", 3)
    ghost_yaw: Array = _column("<f8")
    ghost_spin: Array = _column("<f8")
    ghost_flags: Array = _column("u1")
    components: list[list[Any]] = field(default_factory=list)

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Self:
        """Inverse of ``encode``. Raises ProtocolViolation."""
        made = super(Border, cls).decode(data)
        made._check()
        return made

    def _check(self) -> None:
        for name in _NUMBERS:
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= INT_MAX:
                raise ProtocolViolation("border", f"Border.{name} must be 0 to 2**63 - 1, got {value!r}")
        if type(self.items) is not list or not all(type(item) is bytes for item in self.items):
            raise ProtocolViolation("border", "Border.items must be a list of bytes")
        if self.base < 1 or self.base + len(self.items) > INT_MAX:
            raise ProtocolViolation("border", "Border.base is out of range")
        count = len(self.ghost_id)
        columns = ("hop", "kind", "pos", "vel", "yaw", "spin", "flags")
        if any(len(getattr(self, f"ghost_{name}")) != count for name in columns):
            raise ProtocolViolation("border", "Border: columns of ghosts differ in length")
        if type(self.components) is not list:
            raise ProtocolViolation("border", "Border.components must be a list")
        for entry in self.components:
            if type(entry) is not list or [type(part) for part in entry] != [str, str, bytes]:
                raise ProtocolViolation("border", "Border.components: entries are [name, dtype, data]")


# -------------------------------------------------------------------------------------------------------------- channel
class Channel:
    """Both directions of the reliable words between this region and one neighbour; ``born`` names ours.

    An item is said again until the neighbour has taken it, and kept until it is durable there: who takes the place of a
    neighbour that crashed knows only what was durable, and is told the rest again. Without a journal what is taken is
    durable.

    Policy when full: nothing is thrown away, a new item is refused (:class:`ChannelFullError`): acts from ``ACTS_MAX``
    items or ``ACTS_BYTES_MAX`` bytes on, anything from ``ITEMS_MAX`` items on.
    """

    def __init__(self, born: int) -> None:
        self.born = born
        self.former = (0, 0)
        """(born, number): up to that number items are those of the channel of a predecessor that crashed."""
        self.journaled = False
        """Whether items that were taken are acknowledged as safe only when :meth:`is_durable` says so."""
        self.base = 1
        """Number of the first item that is not safe yet."""
        self.peer_taken = 0
        """The neighbour has taken our items up to this number."""
        self.queue: deque[bytes] = deque()
        self.queue_bytes = 0
        self.peer_born = 0
        """The neighbour's channel that we know (0: none)."""
        self.taken = 0
        """Its items up to this number were taken."""
        self.durable = 0
        """Its items up to this number are durable here."""
        self.peer_base = 1
        """It knows that we took all items below this number."""
        self.skipped = 0
        """Items that can never come any more: their sender believes that we had them. 0 unless a copy was restored that
        had gone on elsewhere."""

    def put(self, item: bytes, *, act: bool = True) -> int:
        """Queue an item; returns its number. Raises ChannelFullError."""
        if len(self.queue) >= (ACTS_MAX if act else ITEMS_MAX):
            raise ChannelFullError(f"{len(self.queue)} items are not acknowledged")
        if act and len(item) > ACT_BYTES_MAX:
            raise ChannelFullError(f"{len(item)} bytes, at most {ACT_BYTES_MAX} can be carried")
        if act and self.queue_bytes + len(item) > ACTS_BYTES_MAX:
            raise ChannelFullError(f"{self.queue_bytes} bytes are not acknowledged")
        self.queue.append(item)
        self.queue_bytes += len(item)
        return self.base + len(self.queue) - 1

    def retell(self, items: list[bytes]) -> None:
        """Say these instead of those that are not durable over there yet, as many: some of it is not true any more."""
        assert len(items) == len(self.queue)
        self.queue = deque(items)
        self.queue_bytes = sum(map(len, items))

    def acknowledged(self, number: int) -> bool:
        """Whether the neighbour has taken our item ``number``."""
        return number <= self.peer_taken

    def is_safe(self, number: int) -> bool:
        """Whether our item ``number`` outlives the neighbour's process."""
        return number < self.base

    def is_durable(self, born: int, number: int) -> None:
        """What was taken of the neighbour's channel ``born`` up to ``number`` outlives this process."""
        if born == self.peer_born:
            self.durable = max(self.durable, number)

    @property
    def safe(self) -> int:
        """What the neighbour need not keep any more."""
        return self.durable if self.journaled else self.taken

    @property
    def is_idle(self) -> bool:
        """Whether all that was said either way, as far as it is known here, is durable where it went."""
        return not self.queue and self.safe == self.taken

    @property
    def first(self) -> int:
        """Number of the first item in :meth:`window`."""
        return self.peer_taken + 1

    def window(self) -> list[bytes]:
        """What the next message carries, from ``first`` on."""
        out: list[bytes] = []
        size = 0
        for item in islice(self.queue, self.first - self.base, None):
            size += len(item)
            if out and (len(out) == WINDOW_ITEMS or size > WINDOW_BYTES):
                break
            out.append(item)
        return out

    def take(self, message: Border) -> list[tuple[int, bytes]]:
        """Take in a message's part; returns [(number, item)] of those that are new, in order.

        Nothing is taken from a message whose sender does not know of our life (``target_epoch``): it may be on its way
        since a predecessor's, with items that this one took and acknowledged, or leave out what only that one had.
        """
        peer_born, base = message.born, message.base
        if peer_born < self.peer_born:
            return []
        if peer_born > self.peer_born:  # another life of the neighbour: it has what was safe
            self.peer_taken = self.base - 1
        if message.ack_born == self.born:
            last = self.base + len(self.queue) - 1
            while self.queue and self.base <= message.safe:
                self.queue_bytes -= len(self.queue.popleft())
                self.base += 1
            self.peer_taken = max(self.peer_taken, self.base - 1, min(message.ack, last))
        if message.target_epoch < self.born:
            return []
        if peer_born > self.peer_born:
            goes_on = message.former_born == self.peer_born
            had = [min(known, message.former_last) if goes_on else 0 for known in (self.taken, self.durable)]
            self.peer_born, self.peer_base = peer_born, base
            self.taken, self.durable = max(base - 1, had[0]), max(base - 1, had[1])
        if base > self.taken + 1:
            self.skipped += base - self.taken - 1
            self.taken = self.durable = base - 1
        self.peer_base = max(self.peer_base, base)
        new: list[tuple[int, bytes]] = []
        for number, item in enumerate(message.items, base):
            if number == self.taken + 1:
                self.taken = number
                new.append((number, item))
        return new

    def state(self) -> list[Any]:
        """For a dump."""
        return [
            self.born, self.base, list(self.queue), self.peer_born, self.taken, self.peer_base, self.skipped,
            self.peer_taken, self.durable, list(self.former),
        ]  # fmt: skip

    @classmethod
    def load(cls, state: list[Any]) -> "Channel":
        """Inverse of :meth:`state`."""
        made = cls(state[0])
        made.base, made.queue = state[1], deque(state[2])
        made.queue_bytes = sum(map(len, made.queue))
        made.peer_born, made.taken, made.peer_base, made.skipped = state[3:7]
        made.peer_taken, made.durable = state[7:9]
        made.former = (state[9][0], state[9][1])
        return made

    @classmethod
    def after_a_crash(cls, state: list[Any], born: int, items: list[bytes]) -> "Channel":
        """What goes on from a predecessor's :meth:`state` as it was stored, under a name of its own; ``items`` in the
        place of that one's, as many."""
        made = cls.load([*state[:2], items, *state[3:]])
        made.born, made.former = born, (made.born, made.base + len(items) - 1)
        made.peer_taken, made.durable = made.base - 1, made.taken
        return made
