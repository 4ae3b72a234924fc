"""Messages of a session other than frames: dataclasses, and their msgpack (STANDARD.md §2, §3).

Invariant: a decoder raises :class:`ProtocolViolation` and nothing else on any bytes; what it returns is in bounds.
Not responsible for: STRUCTURE and FRAME (``frames``), VALUES (``values``), how they travel over UDP (``datagrams``),
the meaning of what is said (``server.session``).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

from protocol import limits
from protocol.acting import Act, Answer, check_name, check_value
from protocol.channels import BEHIND_S_MAX, CHANNEL_NAME_CHARS_MAX, Camera, Channel, Keyframe, Point, Watch
from protocol.codes import Close, ProtocolViolation
from protocol.layouts import COMMAND, COMMANDS_PER_INPUT_MAX
from protocol.pose_layout import SAMPLE, SAMPLES_MAX

T_HELLO: Final = 1
T_INPUT: Final = 2
T_ACK: Final = 3
T_CHAT_SAY: Final = 4
T_ACT: Final = 5
T_BYE: Final = 6
T_POSE: Final = 8
T_WATCH: Final = 9
T_DATAGRAMS: Final = 10
T_WELCOME: Final = 16
T_STRUCTURE: Final = 17
T_FRAME: Final = 18
T_CHAT: Final = 19
T_PRESENCE: Final = 20
T_NOTICE: Final = 21
T_MOVE: Final = 22
T_SCHEMA: Final = 23
T_CLOSE: Final = 24
T_EVENT: Final = 25
T_ANSWER: Final = 26
T_TOKEN: Final = 27
T_VALUES: Final = 28
T_CHANNEL: Final = 29
T_KEYFRAME: Final = 30
T_CAMERA: Final = 31
T_POSES: Final = 32

CARRIER_UDP: Final = 0
CARRIER_WEBTRANSPORT: Final = 1
"""How datagrams travel (§9.1); there are no others in this version."""
SCOPE_WORLD: Final = 0
SCOPE_NEAR: Final = 1
SCOPE_DIRECT: Final = 2
PROFILES: Final = ("vr", "desktop", "tv", "observer", "device")
SHA256_BYTES: Final = 32
U32_MAX: Final = 2**32 - 1
U64_MAX: Final = 2**64 - 1
DATAGRAM_KEY_BYTES: Final = 32
TICK_MAX: Final = 2**53
"""Ticks are numbers that JavaScript holds exactly; a client may calculate with them in 64 bits without a thought."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of a client."""

    version_min: int
    version_max: int
    token: str | None
    name: str | None
    profile: str = "desktop"
    resume: bytes | None = None
    schema_hash: bytes | None = None
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """Commands of a client; ``commands`` is 8 bytes for each (layouts.COMMAND), ``seq`` numbers the last."""

    seq: int
    frame: int
    stamp_ms: int
    commands: bytes
    earlier: int | None = None
    """Over datagrams: bit i is set if frame ``frame`` − 1 − i has come (§9.4)."""


@dataclass(frozen=True, slots=True)
class Ack:
    """Names the newest frame applied; over datagrams the newest that has come, and with ``earlier`` those before it."""

    frame: int
    stamp_ms: int
    earlier: int | None = None


@dataclass(frozen=True, slots=True)
class Say:
    """A client's chat line; ``to`` is an entity id for direct messages."""

    scope: int
    text: str
    to: int | None = None


@dataclass(frozen=True, slots=True)
class Bye:
    """The client leaves for good: its body is removed at once."""


@dataclass(frozen=True, slots=True)
class AskDatagrams:
    """The client asks to go on over datagrams of ``version``, by ``carrier`` (§9.1)."""

    version: int
    carrier: int = CARRIER_UDP


@dataclass(frozen=True, slots=True)
class Pose:
    """Where head and hands of a body are; ``samples``: 1 to 3 of pose_layout.SAMPLE, oldest first. Of several the one
    with the newest stamp counts."""

    stamp_ms: int
    samples: bytes


ClientMessage = Hello | Input | Ack | Say | Act | Bye | AskDatagrams | Watch | Pose


@dataclass(frozen=True, slots=True)
class Welcome:
    """Admission; the fields are those of STANDARD.md §3."""

    version: int
    session: int
    generation: int
    resume: bytes
    world: str
    tick: int
    rate_hz: int
    steps_per_tick: int
    body: int | None
    stream: int
    profile: str
    radius_m: float
    near_radius_m: float
    schema: dict[str, Any] | None
    schema_hash: bytes
    anchor: tuple[float, float, float] | None
    map: str | None
    attribution: str
    idle_ack_ms: int
    server: str
    acted: int = 0
    """The newest number of an act that the body has taken."""


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat line as heard. ``sseq`` is 0 until the stream numbers it."""

    scope: int
    sender: int
    name: str
    text: str
    sseq: int = 0


@dataclass(frozen=True, slots=True)
class Presence:
    """Who came and went since the last one; ``online`` counts the people in the world."""

    online: int
    joined: tuple[tuple[int, str], ...] = ()
    left: tuple[int, ...] = ()
    sseq: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """Something this client alone should know, e.g. that a chat line was refused."""

    code: int
    text: str
    sseq: int = 0


@dataclass(frozen=True, slots=True)
class Move:
    """Go on at another gateway: connect, HELLO with ``ticket`` as resume, switch, close the old connection."""

    url: str
    ticket: bytes
    within_ms: int
    sseq: int = 0


@dataclass(frozen=True, slots=True)
class Schema:
    """A changed component schema; all entities enter again after it."""

    schema: dict[str, Any]
    schema_hash: bytes
    sseq: int = 0


@dataclass(frozen=True, slots=True)
class Closing:
    """Says why the connection is about to be closed."""

    code: int
    retry_after_ms: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something a behaviour says to this client, about ``entity`` or about nothing in particular."""

    entity: int | None
    name: str
    payload: Any = field(default=None)
    sseq: int = 0


@dataclass(frozen=True, slots=True)
class Token:
    """Where a session may go on over datagrams, and with which keys (§9.1); ``address`` None: not here, ``text`` says
    why. Keys are secrets: they are not shown by ``repr``."""

    address: str | None
    number: int = 0
    key_up: bytes = field(default=b"", repr=False)
    key_down: bytes = field(default=b"", repr=False)
    within_ms: int = 0
    text: str = ""
    certificates: tuple[bytes, ...] = ()
    """SHA-256 of certificates that ``address`` may show, over WebTransport; none: a browser asks its authorities."""


ServerMessage = (
    Welcome | Chat | Presence | Notice | Move | Schema | Closing | Event | Answer | Token | Channel | Keyframe | Camera
)
STRUCTURE_TYPES: Final = frozenset({T_STRUCTURE, T_CHAT, T_PRESENCE, T_NOTICE, T_MOVE, T_SCHEMA, T_EVENT, T_ANSWER})


def pack(value: object) -> bytes:
    """Shortest msgpack of plain values (str, bytes, int, float, bool, None, list, tuple, dict)."""
    return msgpack.packb(value, use_bin_type=True)


def unpack(data: bytes | bytearray | memoryview, bytes_max: int = limits.SERVER_MESSAGE_BYTES_MAX) -> Any:
    """Decode exactly one msgpack value from untrusted bytes.

    Raises ProtocolViolation: too large, malformed, truncated, trailing bytes, invalid UTF-8, too deep.
    """
    if len(data) > bytes_max:
        raise ProtocolViolation("oversized", f"{len(data)} bytes, at most {bytes_max} are allowed", Close.TOO_LARGE)
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=False, use_list=True, max_ext_len=0)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError, OverflowError) as error:
        raise ProtocolViolation("malformed", f"not one whole msgpack value: {error}") from None


def encode_client(message: ClientMessage) -> bytes:
    """Bytes of a client's message."""
    match message:
        case Hello():
            m = message
            head = [T_HELLO, m.version_min, m.version_max, m.token, m.name, m.profile]
            return pack([*head, m.resume, m.schema_hash, m.agent])
        case Input():
            earlier = () if message.earlier is None else (message.earlier,)
            return pack([T_INPUT, message.seq, message.frame, message.stamp_ms, message.commands, *earlier])
        case Ack():
            earlier = () if message.earlier is None else (message.earlier,)
            return pack([T_ACK, message.frame, message.stamp_ms, *earlier])
        case Say():
            return pack([T_CHAT_SAY, message.scope, message.text, message.to])
        case Act():
            return pack([T_ACT, message.number, message.name, message.payload])
        case Bye():
            return pack([T_BYE])
        case AskDatagrams():
            carrier = () if message.carrier == CARRIER_UDP else (message.carrier,)
            return pack([T_DATAGRAMS, message.version, *carrier])
        case Watch():
            return pack([T_WATCH, message.name, message.behind_s])
        case Pose():
            return pack([T_POSE, message.stamp_ms, message.samples])


class _Items:
    """Reads the items of one message in order, each with its type and bounds checked."""

    def __init__(self, items: list[Any], name: str) -> None:
        self._items = items
        self._next = 1
        self._name = name

    def _take(self) -> Any:
        if self._next >= len(self._items):
            raise ProtocolViolation("malformed", f"{self._name} has only {len(self._items)} items")
        value = self._items[self._next]
        self._next += 1
        return value

    def _wrong(self, wanted: str) -> ProtocolViolation:
        return ProtocolViolation("wrong_type", f"{self._name}: item {self._next - 1} must be {wanted}")

    def uint(self, most: int) -> int:
        value = self._take()
        if type(value) is not int or not 0 <= value <= most:
            raise self._wrong(f"an integer from 0 to {most}")
        return value

    def text(self, chars_max: int) -> str:
        value = self._take()
        if type(value) is not str or len(value) > chars_max:
            raise self._wrong(f"a string of at most {chars_max} characters")
        return value

    def data(self, bytes_max: int) -> bytes:
        value = self._take()
        if type(value) is not bytes or len(value) > bytes_max:
            raise self._wrong(f"bin of at most {bytes_max} bytes")
        return value

    def number(self) -> float:
        value = self._take()
        if type(value) not in (int, float):
            raise self._wrong("a number")
        return float(value)

    def any(self) -> Any:
        return self._take()

    def last(self, most: int) -> int | None:
        """An integer that older messages of this type do not have."""
        return self.uint(most) if self._next < len(self._items) else None

    def hashes(self) -> tuple[bytes, ...]:
        """An array of SHA-256, which older messages of this type do not have."""
        value = self._take() if self._next < len(self._items) else []
        if type(value) is not list or any(type(item) is not bytes or len(item) != SHA256_BYTES for item in value):
            raise self._wrong(f"an array of bin of {SHA256_BYTES} bytes")
        return tuple(value)

    def point(self) -> Point:
        value = self._take()
        if type(value) is not list or len(value) != 3 or any(type(c) is not int or abs(c) >= 2**31 for c in value):
            raise self._wrong("three 32-bit integers")
        return value[0], value[1], value[2]

    def optional(self, reader: Callable[[int], Any], bound: int) -> Any:
        if self._next < len(self._items) and self._items[self._next] is None:
            self._next += 1
            return None
        return reader(bound)


def _array(data: bytes | bytearray | memoryview, bytes_max: int) -> list[Any]:
    items = unpack(data, bytes_max)
    if type(items) is not list or not items or type(items[0]) is not int:
        raise ProtocolViolation("malformed", "a message is an array whose first item is its type")
    return items


def decode_client(data: bytes | bytearray | memoryview) -> ClientMessage | None:
    """One message of a client, or None for a type of 9–15, which this version ignores.

    Raises ProtocolViolation for anything that STANDARD.md §2 does not allow.
    """
    items = _array(data, limits.MESSAGE_BYTES_MAX)
    kind = items[0]
    if kind == T_HELLO:
        r = _Items(items, "HELLO")
        hello = Hello(
            version_min=r.uint(U32_MAX),
            version_max=r.uint(U32_MAX),
            token=r.optional(r.text, limits.TOKEN_BYTES_MAX),
            name=r.optional(r.text, 4 * limits.NAME_CHARS_MAX),
            profile=r.text(16),
            resume=r.optional(r.data, limits.RESUME_BYTES_MAX),
            schema_hash=r.optional(r.data, 8),
            agent=r.text(limits.AGENT_CHARS_MAX),
        )
        if hello.profile not in PROFILES:
            raise ProtocolViolation("wrong_type", f"HELLO: profile must be one of {', '.join(PROFILES)}")
        return hello
    if kind == T_INPUT:
        r = _Items(items, "INPUT")
        size = COMMAND.itemsize * COMMANDS_PER_INPUT_MAX
        message = Input(r.uint(U32_MAX), r.uint(U32_MAX), r.uint(U32_MAX), r.data(size), r.last(U64_MAX))
        if not message.commands or len(message.commands) % COMMAND.itemsize:
            raise ProtocolViolation("malformed", f"INPUT: commands are {COMMAND.itemsize} bytes each, at least one")
        return message
    if kind == T_ACK:
        r = _Items(items, "ACK")
        return Ack(r.uint(U32_MAX), r.uint(U32_MAX), r.last(U64_MAX))
    if kind == T_CHAT_SAY:
        r = _Items(items, "CHAT")
        return Say(r.uint(SCOPE_DIRECT), r.text(limits.CHAT_CHARS_MAX), r.optional(r.uint, U64_MAX))
    if kind == T_ACT:
        return _act(_Items(items, "ACT"))
    if kind == T_BYE:
        return Bye()
    if kind == T_DATAGRAMS:
        r = _Items(items, "DATAGRAMS")
        return AskDatagrams(r.uint(U32_MAX), r.last(U32_MAX) or CARRIER_UDP)
    if kind == T_WATCH:
        r = _Items(items, "WATCH")
        return Watch(r.optional(r.text, CHANNEL_NAME_CHARS_MAX), r.uint(BEHIND_S_MAX))
    if kind == T_POSE:
        r = _Items(items, "POSE")
        pose = Pose(r.uint(U32_MAX), r.data(SAMPLES_MAX * SAMPLE.itemsize))
        if not pose.samples or len(pose.samples) % SAMPLE.itemsize:
            text = f"POSE: samples are {SAMPLE.itemsize} bytes each, 1 to {SAMPLES_MAX} of them"
            raise ProtocolViolation("malformed", text)
        return pose
    if 8 <= kind <= 15:
        return None
    raise ProtocolViolation("unknown_type", f"message type {kind} is not one a client sends")


def _act(r: _Items) -> Act:
    act = Act(r.uint(U32_MAX), r.text(limits.ACT_NAME_BYTES_MAX), r.any())
    if act.number == 0:
        raise ProtocolViolation("wrong_type", "ACT: numbers begin with 1")
    check_name(act.name)
    check_value(act.payload, "ACT")
    if len(pack(act.payload)) > limits.ACT_PAYLOAD_BYTES_MAX:
        text = f"ACT: the payload has more than {limits.ACT_PAYLOAD_BYTES_MAX} bytes"
        raise ProtocolViolation("oversized", text, Close.TOO_LARGE)
    return act


WELCOME_KEYS: Final = tuple(Welcome.__dataclass_fields__)


def encode_server(message: ServerMessage) -> bytes:
    """Bytes of a server's message. Structure messages carry ``sseq`` as a fixed 5-byte u32 at offset 2 (see
    ``sseq_offset``)."""
    match message:
        case Welcome():
            return pack([T_WELCOME, {key: getattr(message, key) for key in WELCOME_KEYS}])
        case Chat():
            return _structure(T_CHAT, message.sseq, message.scope, message.sender, message.name, message.text)
        case Presence():
            return _structure(T_PRESENCE, message.sseq, message.online, message.joined, message.left)
        case Notice():
            return _structure(T_NOTICE, message.sseq, message.code, message.text)
        case Move():
            return _structure(T_MOVE, message.sseq, message.url, message.ticket, message.within_ms)
        case Schema():
            return _structure(T_SCHEMA, message.sseq, message.schema, message.schema_hash)
        case Event():
            return _structure(T_EVENT, message.sseq, message.entity, message.name, message.payload)
        case Answer():
            return _structure(T_ANSWER, message.sseq, message.number, message.code, message.value)
        case Closing():
            return pack([T_CLOSE, message.code, message.retry_after_ms, message.text])
        case Token():
            m = message
            certificates = [list(m.certificates)] if m.certificates else []
            return pack([T_TOKEN, m.address, m.number, m.key_up, m.key_down, m.within_ms, m.text, *certificates])
        case Channel():
            c = message
            return pack([T_CHANNEL, c.code, c.name, c.stream, c.title, c.rate_hz, c.behind_ms, c.text])
        case Keyframe():
            return _structure(T_KEYFRAME, message.sseq, message.stream, message.frame, message.tick, message.parts)
        case Camera():
            shot = message
            pose = (shot.entity, list(shot.eye), list(shot.look))
            return _structure(T_CAMERA, shot.sseq, shot.stream, shot.tick, shot.move_ms, *pose, shot.text)


SSEQ_OFFSET: Final = 3
"""Where the big-endian u32 of a structure message's sequence stands: array header, type, 0xce, then these four
bytes."""


def _structure(kind: int, sseq: int, *items: object) -> bytes:
    # The sequence has a fixed width, so that one encoded message can be given to many streams and numbered in place.
    head = bytes([0x90 | (2 + len(items)), kind, 0xCE]) + sseq.to_bytes(4, "big")
    return head + b"".join(pack(item) for item in items)


def decode_server(data: bytes | bytearray | memoryview) -> ServerMessage | None:
    """One message of a server, other than STRUCTURE, FRAME and VALUES; None for an unknown type.

    Raises ProtocolViolation for anything that STANDARD.md §3 does not allow.
    """
    items = _array(data, limits.SERVER_MESSAGE_BYTES_MAX)
    kind = items[0]
    chars = limits.SERVER_MESSAGE_BYTES_MAX
    if kind == T_WELCOME:
        values = items[1] if len(items) > 1 else None
        if not isinstance(values, dict) or any(key not in values for key in WELCOME_KEYS):
            raise ProtocolViolation("malformed", "WELCOME lacks some of its keys")
        anchor = values["anchor"]
        if anchor is not None and (type(anchor) is not list or any(type(a) not in (int, float) for a in anchor)):
            raise ProtocolViolation("wrong_type", "WELCOME: anchor must be nil or three numbers")
        fields = {key: values[key] for key in WELCOME_KEYS}
        return Welcome(**{**fields, "anchor": None if anchor is None else tuple(anchor)})
    if kind == T_CHAT:
        r = _Items(items, "CHAT")
        sseq = r.uint(U32_MAX)
        return Chat(r.uint(SCOPE_DIRECT), r.uint(U64_MAX), r.text(chars), r.text(chars), sseq)
    if kind == T_PRESENCE:
        r = _Items(items, "PRESENCE")
        sseq, online, joined, left = r.uint(U32_MAX), r.uint(U32_MAX), r.any(), r.any()
        try:
            pairs = tuple((int(entity), str(name)) for entity, name in joined)
            return Presence(online, pairs, tuple(int(entity) for entity in left), sseq)
        except (TypeError, ValueError, OverflowError) as error:
            raise ProtocolViolation("wrong_type", f"PRESENCE: {error}") from None
    if kind == T_NOTICE:
        r = _Items(items, "NOTICE")
        sseq = r.uint(U32_MAX)
        return Notice(r.uint(U32_MAX), r.text(chars), sseq)
    if kind == T_MOVE:
        r = _Items(items, "MOVE")
        sseq = r.uint(U32_MAX)
        return Move(r.text(chars), r.data(limits.RESUME_BYTES_MAX), r.uint(U32_MAX), sseq)
    if kind == T_SCHEMA:
        r = _Items(items, "SCHEMA")
        sseq, schema = r.uint(U32_MAX), r.any()
        if not isinstance(schema, dict):
            raise ProtocolViolation("wrong_type", "SCHEMA: item 2 must be a map")
        return Schema(schema, r.data(8), sseq)
    if kind == T_CLOSE:
        r = _Items(items, "CLOSE")
        return Closing(r.uint(U32_MAX), r.optional(r.uint, U32_MAX), r.text(chars))
    if kind == T_EVENT:
        r = _Items(items, "EVENT")
        sseq = r.uint(U32_MAX)
        return Event(r.optional(r.uint, U64_MAX), r.text(chars), r.any(), sseq)
    if kind == T_ANSWER:
        r = _Items(items, "ANSWER")
        sseq = r.uint(U32_MAX)
        return Answer(r.uint(U32_MAX), r.uint(255), r.any(), sseq)
    if kind == T_TOKEN:
        return _token(_Items(items, "TOKEN"))
    if kind == T_CHANNEL:
        r = _Items(items, "CHANNEL")
        code, name, stream, title = r.uint(255), r.text(chars), r.uint(U32_MAX), r.text(chars)
        return Channel(code, name, stream, title, r.number(), r.uint(U32_MAX), r.text(chars))
    if kind == T_KEYFRAME:
        r = _Items(items, "KEYFRAME")
        sseq, stream = r.uint(U32_MAX), r.uint(U32_MAX)
        return Keyframe(stream, r.uint(U32_MAX), r.uint(TICK_MAX), r.uint(U32_MAX), sseq)
    if kind == T_CAMERA:
        r = _Items(items, "CAMERA")
        sseq, stream, tick, move_ms = r.uint(U32_MAX), r.uint(U32_MAX), r.uint(TICK_MAX), r.uint(U32_MAX)
        entity, eye, look = r.optional(r.uint, U64_MAX), r.point(), r.point()
        return Camera(stream, tick, move_ms, entity, eye, look, r.text(chars), sseq)
    return None


def _token(r: _Items) -> Token:
    size = DATAGRAM_KEY_BYTES
    token = Token(
        r.optional(r.text, limits.ADDRESS_CHARS_MAX),
        r.uint(U32_MAX),
        r.data(size),
        r.data(size),
        r.uint(U32_MAX),
        r.text(limits.SERVER_MESSAGE_BYTES_MAX),
        r.hashes(),
    )
    if token.address is not None and not len(token.key_up) == len(token.key_down) == size:
        raise ProtocolViolation("wrong_type", f"TOKEN: keys have {size} bytes each")
    return token
