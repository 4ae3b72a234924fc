"""A gateway in memory for tests of the client over datagrams: one session, over WebSocket or UDP, and others who move.

It plays STANDARD.md §9 from the server's side as plainly as it can: who sees what is always everybody, deltas name the
newest base that is known to have come, what is not acknowledged is sent again. Records that the client should hold are
those that it computes itself. Not responsible for: when bytes arrive (``ether``).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from client.datagrams import DatagramLink
from client.walk import Ground
from protocol.acting import Act, Answer
from protocol.codes import Close
from protocol.frames import Frame, Structure, encode_frame, encode_structure
from protocol.messages import (
    Ack,
    AskDatagrams,
    Bye,
    Closing,
    Hello,
    Input,
    Notice,
    ServerMessage,
    Token,
    decode_client,
    encode_server,
    pack,
)
from protocol.values import Values, encode
from tests.unit.client.one_body import OneBody, welcome

AGAIN_MS = 200.0
PER_DATAGRAM = 7
I64 = np.int64


@dataclass(slots=True)
class Mover:
    """One of the others: its record, and what it is called."""

    entity: int
    tick: int
    p: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    v: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    version: int = 0

    def at(self, tick: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """Where it is, on the grid."""
        place: np.ndarray[tuple[int], np.dtype[np.int64]] = self.p + ((self.v * (tick - self.tick) + 8) >> 4)
        return place


@dataclass(slots=True)
class Told:
    """What a client over datagrams knows of one number."""

    mover: Mover
    by_frame: dict[int, tuple[int, Mover]] = field(default_factory=dict)
    """Frame: the version that it carried, and the record as the client computes it."""
    base: int | None = None
    known: int = -1
    """The newest version that is acknowledged."""
    sent: int = -1
    sent_ms: float = 0.0


class Line:
    """One connection: its stream, and the view over it. ``link`` is that of WebSocket, ``udp`` that of datagrams."""

    def __init__(self, link: int | None, udp: DatagramLink | None) -> None:
        self.link = link
        self.udp = udp
        self.sseq = 0
        self.frame = 0
        self.numbers: dict[int, Told] = {}
        self.resting: dict[int, int] = {}
        """Numbers that were left: the frame after which they may be used again."""
        self.come: set[int] = set()
        self.newest = 0


class Gateway:
    """``rng`` draws keys and what the others do. ``why_not``: datagrams are not offered."""

    def __init__(self, ground: Ground, rng: np.random.Generator, others: int = 25) -> None:
        self.rng = rng
        self.body = OneBody(ground)
        self.why_not: str | None = None
        self.address = "127.0.0.1:9"
        self.restless = True
        self.others: dict[int, Mover] = {}
        self.ids = 1000
        self.line: Line | None = None
        self.ws: list[tuple[int, bytes | int]] = []
        """(link, message or close code) to be sent."""
        self.datagrams: list[bytes] = []
        self.tokens: list[Token] = []
        self.opening: dict[int, Line] = {}
        self.done: list[str] = []
        self.acted = 0
        self.gone = False
        for _ in range(others):
            self.add()

    def add(self) -> None:
        """Another one comes."""
        self.ids += 1
        p, v = self.rng.integers(-9000, 9000, 3), self.rng.integers(-200, 200, 3)
        self.others[self.ids] = Mover(self.ids, self.body.tick, p, v)

    # ------------------------------------------------------------------------------------------------------- what comes

    def take_ws(self, link: int, data: bytes, now_ms: float) -> None:
        """A message over WebSocket."""
        message = decode_client(data)
        if isinstance(message, Hello):
            self.attach(Line(link, None), message)
        elif self.line is not None and self.line.link == link:
            self.take(self.line, data, now_ms)

    def take_datagram(self, data: bytes, now_ms: float) -> None:
        """A datagram of anybody."""
        lines = [*self.opening.values(), *([self.line] if self.line is not None else [])]
        for line in lines:
            messages = None if line.udp is None else line.udp.receive(data, now_ms)
            for message in messages or ():
                if line is not self.line:
                    hello = decode_client(message)
                    assert isinstance(hello, Hello)
                    assert hello.resume is not None
                    self.attach(line, hello)
                else:
                    self.take(line, message, now_ms)

    def attach(self, line: Line, hello: Hello) -> None:
        """The session goes on over this line."""
        old, self.line = self.line, line
        self.opening.clear()
        self.body.heard.append(hello)
        self.say(line, welcome(tick=self.body.tick, map=None, acted=self.acted))
        self.enter(line, list(self.others.values()))
        if old is not None:
            self.end(old, Closing(Close.REPLACED, None, "replaced"))

    def end(self, line: Line, why: Closing) -> None:
        """CLOSE, and the end of the connection."""
        if line.link is not None:
            self.ws += [(line.link, encode_server(why)), (line.link, why.code)]
        elif line.udp is not None:
            line.udp.say(encode_server(why), may_be_lost=True)

    def take(self, line: Line, data: bytes, now_ms: float) -> None:
        """A message of the session."""
        message = decode_client(data)
        if isinstance(message, Ack | Input):
            self.acknowledge(line, message.frame, message.earlier)
            assert (message.earlier is None) == (line.udp is None)
        if isinstance(message, AskDatagrams):
            self.say(line, self.token())
        elif isinstance(message, Act):
            assert message.number <= self.acted + 1, "an act was left out"
            if message.number > self.acted:
                self.acted = message.number
                self.done.append(message.name)
            self.tell(line, Answer(message.number, 0, message.name))
        elif isinstance(message, Bye):
            self.gone = True
        else:
            self.body.take(data, now_ms)

    def token(self) -> Token:
        """A fresh one, or none."""
        if self.why_not is not None:
            return Token(None, text=self.why_not)
        number = int(self.rng.integers(1, 2**32))
        token = Token(self.address, number, self.rng.bytes(32), self.rng.bytes(32), 10_000, "")
        self.tokens.append(token)
        mine = Token(token.address, number, token.key_down, token.key_up)
        self.opening = {number: Line(None, DatagramLink(mine, welcome().session))}
        return token

    # ----------------------------------------------------------------------------------------------------- what is said

    def say(self, line: Line, message: ServerMessage | bytes) -> None:
        """Reliably."""
        data = message if isinstance(message, bytes) else encode_server(message)
        if line.udp is not None:
            line.udp.say(data, may_be_lost=False)
        elif line.link is not None:
            self.ws.append((line.link, data))

    def tell(self, line: Line, message: Answer | Notice) -> None:
        """A structure message."""
        line.sseq += 1
        fields = {name: getattr(message, name) for name in message.__slots__}
        self.say(line, type(message)(**{**fields, "sseq": line.sseq}))

    def enter(self, line: Line, movers: list[Mover], leave: tuple[int, ...] = ()) -> None:
        """STRUCTURE."""
        tick, n = self.body.tick, len(movers)
        free = [i for i in range(n + len(line.numbers) + len(line.resting)) if i not in line.numbers]
        numbers = [i for i in free if i not in line.resting][:n]
        for number in leave:
            del line.numbers[number]
            line.resting[number] = line.frame + 1
        line.sseq += 1
        s = Structure(line.sseq, tick, line.frame + 1, (0, 0, 0), leave_number=np.array(leave, "<u2"))
        s.enter_id = np.array([m.entity for m in movers], "<u8")
        s.enter_number = np.array(numbers, "<u2")
        s.enter_kind = np.ones(n, "<u2")
        s.enter_p = np.array([m.at(tick) for m in movers], "<i2").reshape(n, 3)
        s.enter_v = np.array([m.v for m in movers], "<i2").reshape(n, 3)
        s.enter_age, s.enter_yaw = np.zeros(n, "u1"), np.zeros(n, "u1")
        s.enter_blobs = [pack({1: f"E{m.entity}"}) for m in movers]
        self.say(line, encode_structure(s))
        line.numbers.update(zip(numbers, map(Told, movers), strict=True))

    def acknowledge(self, line: Line, frame: int, earlier: int | None) -> None:
        """INPUT or ACK names what came."""
        line.newest = max(line.newest, frame)
        line.resting = {n: after for n, after in line.resting.items() if line.newest < after}
        named = {frame} | {frame - 1 - i for i in range(64) if (earlier or 0) >> i & 1}
        assert all(0 <= f <= line.frame for f in named), "a frame is acknowledged that was never sent"
        for told in line.numbers.values():
            for f in named & told.by_frame.keys():
                told.known = max(told.known, told.by_frame[f][0])
                if told.base is None or f > told.base:
                    told.base = f

    # ---------------------------------------------------------------------------------------------------------- a tick

    def step(self, now_ms: float) -> None:
        """One tick: the body walks, the others wander, come and go; all of it is told."""
        self.body.walk()
        line, rng, tick = self.line, self.rng, self.body.tick
        if self.restless:
            for m in self.others.values():
                if rng.random() < 0.2:
                    m.p, m.tick = m.at(tick), tick
                    m.v = np.clip(m.v + rng.integers(-90, 90, 3), -400, 400) - np.sign(m.p)
                    m.version += 1
        if line is None:
            return
        if self.restless and rng.random() < 0.1:
            number = int(rng.choice(list(line.numbers)))
            del self.others[line.numbers[number].mover.entity]
            self.add()
            self.enter(line, [self.others[self.ids]], (number,))
        if line.udp is None:
            self.ws.append((line.link or 0, encode_frame(self.frame(line, now_ms))))
            return
        for message in self.values(line, now_ms):
            line.udp.say(encode(message), may_be_lost=True)
            self.datagrams += line.udp.take(now_ms)

    def flush(self, now_ms: float) -> None:
        """What need not wait for a tick."""
        for line in (self.line, *self.opening.values()):
            if line is not None and line.udp is not None:
                self.datagrams += line.udp.take(now_ms)

    def frame(self, line: Line, now_ms: float) -> Frame:
        """All there is, whole."""
        line.frame += 1
        f = Frame(1, line.frame, self.body.tick, line.sseq, self.body.own_bytes(now_ms), (0, 0, 0))
        return self.fulls(f, list(line.numbers), [told.mover for told in line.numbers.values()])

    def fulls(self, f: Frame, numbers: list[int], movers: list[Mover]) -> Frame:
        """Puts full records into ``f``."""
        n = len(numbers)
        f.full_number = np.array(numbers, "<u2")
        f.full_p = np.array([m.at(f.tick) for m in movers], "<i2").reshape(n, 3)
        f.full_v = np.array([m.v for m in movers], "<i2").reshape(n, 3)
        f.full_age, f.full_yaw = np.zeros(n, "u1"), np.zeros(n, "u1")
        return f

    def values(self, line: Line, now_ms: float) -> Iterator[Values]:
        """What is due: news, and what is not acknowledged after a while."""
        due = [n for n, told in line.numbers.items() if self.is_due(told, now_ms)]
        for first in range(0, max(1, len(due)), PER_DATAGRAM):
            line.frame += 1
            f = Values(
                1, line.frame, self.body.tick, line.sseq, None if first else self.body.own_bytes(now_ms), (0, 0, 0)
            )
            yield self.one(f, line, due[first : first + PER_DATAGRAM], now_ms)

    def is_due(self, told: Told, now_ms: float) -> bool:
        """Whether the client should be told of it now."""
        newest = told.mover.version
        return told.known < newest and (told.sent < newest or now_ms - told.sent_ms > AGAIN_MS)

    def one(self, f: Values, line: Line, numbers: list[int], now_ms: float) -> Values:
        """The values of ``numbers``, as deltas where they can be."""
        fulls, rows = [], []
        for number in numbers:
            told, tick = line.numbers[number], f.tick
            mover = told.mover
            told.sent, told.sent_ms = mover.version, now_ms
            record = Mover(mover.entity, tick, mover.at(tick), mover.v.copy())
            base = None if told.base is None else told.by_frame[told.base][1]
            back = f.frame - (told.base or 0)
            d = np.zeros(3, I64) if base is None else record.p - base.at(tick)
            dv = np.zeros(3, I64) if base is None else record.v - base.v
            if base is None or back > 255 or max(abs(d).max(), abs(dv).max()) > 127:
                fulls.append(number)
            else:
                rows.append((number, d, dv, back))
            told.by_frame[f.frame] = mover.version, record
        n = len(rows)
        f.delta_number = np.array([row[0] for row in rows], "<u2")
        f.delta_d = np.array([row[1] for row in rows], "i1").reshape(n, 3)
        f.delta_dv = np.array([row[2] for row in rows], "i1").reshape(n, 3)
        f.delta_yaw = np.zeros(n, "u1")
        f.delta_base = np.array([row[3] for row in rows], "u1")
        self.fulls(f, fulls, [line.numbers[number].mover for number in fulls])
        return f
