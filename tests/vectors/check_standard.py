"""Reads protocol/vectors/frames.json and datagrams.json by STANDARD.md alone: imports nothing of ours, no NumPy, no
msgpack library; ChaCha20-Poly1305 is that of `cryptography`.

Run as a program it prints what it checked; where it and the library disagree, one of them or the page is wrong.
"""

import hashlib
import json
import math
import struct
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

VECTORS = Path(__file__).parents[2] / "protocol" / "vectors"


class Reader:
    """A msgpack reader (https://github.com/msgpack/msgpack/blob/master/spec.md), the types that the standard uses."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        if len(piece) != count:
            raise ValueError("truncated")
        self.at += count
        return piece

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def value(self) -> Any:
        tag = self.take(1)[0]
        if tag < 0x80:
            return tag
        if tag < 0x90:
            return self.map(tag & 15)
        if tag < 0xA0:
            return self.array(tag & 15)
        if tag < 0xC0:
            return self.take(tag & 31).decode()
        if tag >= 0xE0:
            return tag - 256
        if tag in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[tag]
        if tag in (0xC4, 0xC5, 0xC6):
            return self.take(self.number(1 << (tag - 0xC4)))
        if tag == 0xCA:
            return struct.unpack(">f", self.take(4))[0]
        if tag == 0xCB:
            return struct.unpack(">d", self.take(8))[0]
        if 0xCC <= tag <= 0xCF:
            return self.number(1 << (tag - 0xCC))
        if 0xD0 <= tag <= 0xD3:
            return int.from_bytes(self.take(1 << (tag - 0xD0)), "big", signed=True)
        if tag in (0xD9, 0xDA, 0xDB):
            return self.take(self.number(1 << (tag - 0xD9))).decode()
        if tag in (0xDC, 0xDD):
            return self.array(self.number(2 << (tag - 0xDC)))
        if tag in (0xDE, 0xDF):
            return self.map(self.number(2 << (tag - 0xDE)))
        raise ValueError(f"tag {tag:#x} is not used by the standard")

    def array(self, count: int) -> list[Any]:
        return [self.value() for _ in range(count)]

    def map(self, count: int) -> dict[Any, Any]:
        return {self.value(): self.value() for _ in range(count)}


def message(data: bytes) -> list[Any]:
    """The items of one whole message."""
    reader = Reader(data)
    items = reader.value()
    if reader.at != len(data) or not isinstance(items, list):
        raise ValueError("not one array")
    return items


class Columns:
    """Cuts a block; checks the alignment that the standard promises."""

    def __init__(self, block: bytes, message_bytes: bytes, align: int) -> None:
        self.block = block
        self.at = 1 + block[0]
        begin = len(message_bytes) - len(block) + self.at
        if begin % align or any(block[1 : self.at]):
            raise ValueError(f"columns begin at byte {begin}, which is not aligned to {align}")

    def take(self, code: str, count: int) -> list[int]:
        size = struct.calcsize("<" + code) * count
        out = list(struct.unpack_from(f"<{count}{code}", self.block, self.at))
        self.at += size
        return out

    def triples(self, code: str, count: int) -> list[list[int]]:
        x, y, z = (self.take(code, count) for _ in range(3))
        return [list(t) for t in zip(x, y, z, strict=True)]

    def blobs(self, sizes: list[int]) -> list[dict[int, Any]]:
        out = []
        for size in sizes:
            reader = Reader(self.block[self.at : self.at + size])
            out.append(reader.value())
            self.at += size
        return out


class Client:
    """Records by number, as STANDARD.md §4 defines them."""

    def __init__(self) -> None:
        self.records: dict[int, dict[str, Any]] = {}
        self.sseq = 0

    def structure(self, data: bytes) -> None:
        kind, sseq, tick, _frame, origin, block = message(data)
        if kind != 17 or sseq != self.sseq + 1:
            raise ValueError("structure out of order")
        self.sseq = sseq
        c = Columns(block, data, 8)
        enters, leaves, states, zero = c.take("H", 4)
        ids, numbers, kinds = c.take("Q", enters), c.take("H", enters), c.take("H", enters)
        p, v = c.triples("h", enters), c.triples("h", enters)
        sizes = c.take("H", enters)
        gone = c.take("H", leaves)
        changed, changed_sizes = c.take("H", states), c.take("H", states)
        ages, yaws = c.take("B", enters), c.take("B", enters)
        blobs, state_blobs = c.blobs(sizes), c.blobs(changed_sizes)
        if zero or c.at != len(block):
            raise ValueError("block has bytes that the standard does not name")
        for number in gone:
            del self.records[number]
        for k, number in enumerate(numbers):
            if number in self.records:
                raise ValueError("number in use")
            self.records[number] = {"id": ids[k], "kind": kinds[k], "components": blobs[k]}
            self.absolute(number, tick, origin, p[k], v[k], ages[k], yaws[k])
        for number, blob in zip(changed, state_blobs, strict=True):
            held = self.records[number]["components"]
            held.update(blob)
            for key in [key for key, value in blob.items() if value is None]:
                del held[key]

    def frame(self, data: bytes) -> None:
        kind, _stream, _frame, tick, sseq, own, origin, block = message(data)
        if kind != 18 or sseq != self.sseq or (own is not None and len(own) != 32):
            raise ValueError("frame does not follow")
        if block is None:
            return
        c = Columns(block, data, 2)
        deltas, fulls = c.take("H", 2)
        delta_number, full_number = c.take("H", deltas), c.take("H", fulls)
        p, v = c.triples("h", fulls), c.triples("h", fulls)
        d, dv = c.triples("b", deltas), c.triples("b", deltas)
        delta_yaw, age, full_yaw = c.take("B", deltas), c.take("B", fulls), c.take("B", fulls)
        if c.at != len(block):
            raise ValueError("block has bytes that the standard does not name")
        for k, number in enumerate(delta_number):
            r = self.records[number]
            dt = tick - r["tick"]
            r["p"] = [r["p"][a] + ((r["v"][a] * dt + 8) >> 4) + d[k][a] for a in range(3)]
            r["v"] = [r["v"][a] + dv[k][a] for a in range(3)]
            r["tick"], r["yaw"] = tick, delta_yaw[k]
        for k, number in enumerate(full_number):
            self.absolute(number, tick, origin, p[k], v[k], age[k], full_yaw[k])

    def absolute(
        self, number: int, tick: int, origin: list[int], p: list[int], v: list[int], age: int, yaw: int
    ) -> None:
        place = [origin[a] + p[a] for a in range(3)]
        self.records[number].update(tick=tick - age, p=place, v=list(v), yaw=yaw)

    def shown(self, tick: float) -> dict[str, list[float]]:
        out = {}
        for r in self.records.values():
            out[str(r["id"])] = [(16 * r["p"][a] + r["v"][a] * (tick - r["tick"])) / 2048 for a in range(3)]
        return out


def acting(items: list[Any]) -> None:
    """ACT and ANSWER as STANDARD.md §8 bounds them."""
    if items[0] == 5:
        _, number, name, value = items
        if not 1 <= len(name.encode()) <= 64:
            raise ValueError("ACT: name")
    else:
        _, _sseq, number, code, value = items
        if code not in range(5) or (code and not isinstance(value, str)):
            raise ValueError("ANSWER: code")
    if not 1 <= number < 2**32 or depth(value) > 8:
        raise ValueError("a number or value out of bounds")


def watching(items: list[Any]) -> None:
    """WATCH, CHANNEL, KEYFRAME and CAMERA as STANDARD.md §10 bounds them."""
    if items[0] == 9:
        _, name, behind_s = items
        good = (name is None or len(name) <= 64) and 0 <= behind_s <= 60
    elif items[0] == 29:
        _, code, _name, stream, _title, _rate_hz, _behind_ms, text = items
        good = code in range(4) and (stream > 1 if code == 0 else isinstance(text, str))
    elif items[0] == 30:
        _, _sseq, stream, _frame, _tick, _parts = items
        good = stream > 1
    else:
        _, _sseq, stream, _tick, _move_ms, entity, eye, look, text = items
        good = stream > 1 and len(eye) == len(look) == 3 and isinstance(text, str) and entity != 0
    if not good:
        raise ValueError("a message of a channel is out of bounds")


def crowd(data: bytes, expected: dict[str, Any]) -> None:
    """CROWD, STANDARD.md §12."""
    kind, stream, tick, block = message(data)
    columns = Columns(block, data, 2)
    cells, side = columns.take("H", 2)
    got = {"stream": stream, "tick": tick, "side_m": side}
    got |= {
        name: columns.take(code, cells) for name, code in zip(("x", "z", "count", "vx", "vz"), "hhHhh", strict=True)
    }
    if kind != 33 or got != expected:
        raise ValueError(f"CROWD says {got}, the vector {expected}")


def depth(value: Any) -> int:
    """How many arrays and maps are within each other; keys of maps must be texts."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key that is no text")
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


class DatagramClient(Client):
    """Records by number and frame, as STANDARD.md §9.4 defines them. It forgets nothing, so that order alone is
    checked."""

    def __init__(self) -> None:
        super().__init__()
        self.by_frame: dict[int, dict[int, dict[str, Any]]] = {}
        self.entered: dict[int, int] = {}
        self.come: set[int] = set()
        self.waiting: dict[int, bytes] = {}

    def structure(self, data: bytes) -> None:
        before = set(self.records)
        _, _, _, frame, *_ = message(data)
        held = {number: r["id"] for number, r in self.records.items()}
        super().structure(data)
        for number, r in self.records.items():
            if number not in before or held[number] != r["id"]:
                self.entered[number] = self.sseq
                self.by_frame[number] = {frame: dict(r)}
        for frame in sorted(self.waiting):
            if message(self.waiting[frame])[4] <= self.sseq:
                self.apply(self.waiting.pop(frame))

    def values(self, data: bytes) -> bool:
        kind, _stream, frame, _tick, sseq, own, *_ = message(data)
        if kind != 28 or (own is not None and len(own) != 32):
            raise ValueError("not VALUES")
        if frame in self.come or (self.come and max(self.come) - frame > 64):
            return False
        self.come.add(frame)
        if sseq > self.sseq:
            self.waiting[frame] = data
        else:
            self.apply(data)
        return True

    def acknowledges(self) -> tuple[int, int]:
        newest = max(self.come)
        return newest, sum(1 << i for i in range(64) if newest - 1 - i in self.come)

    def apply(self, data: bytes) -> None:
        _, _, frame, tick, sseq, _, origin, block = message(data)
        if block is None:
            return
        c = Columns(block, data, 2)
        deltas, fulls = c.take("H", 2)
        delta_number, full_number = c.take("H", deltas), c.take("H", fulls)
        p, v = c.triples("h", fulls), c.triples("h", fulls)
        d, dv = c.triples("b", deltas), c.triples("b", deltas)
        yaw, bases = c.take("B", deltas), c.take("B", deltas)
        age, full_yaw = c.take("B", fulls), c.take("B", fulls)
        if c.at != len(block) or 0 in bases:
            raise ValueError("block has bytes that the standard does not name, or a base of 0")
        for k, number in enumerate(delta_number):
            if self.means(number, sseq):
                r = self.by_frame[number][frame - bases[k]]
                dt = tick - r["tick"]
                place = [r["p"][a] + ((r["v"][a] * dt + 8) >> 4) + d[k][a] for a in range(3)]
                self.record(number, frame, tick, place, [r["v"][a] + dv[k][a] for a in range(3)], yaw[k])
        for k, number in enumerate(full_number):
            if self.means(number, sseq):
                place = [origin[a] + p[k][a] for a in range(3)]
                self.record(number, frame, tick - age[k], place, v[k], full_yaw[k])

    def means(self, number: int, sseq: int) -> bool:
        lives = number in self.records and self.entered[number] <= sseq
        if not lives and sseq == self.sseq:
            raise ValueError("a value of nobody")
        return lives

    def record(self, number: int, frame: int, tick: int, p: list[int], v: list[int], yaw: int) -> None:
        rows = self.by_frame[number]
        rows[frame] = {"tick": tick, "p": p, "v": v, "yaw": yaw}
        self.records[number].update(rows[max(rows)])


def opened(key: bytes, session: int, number: int, address: str, data: bytes) -> tuple[int, bytes] | None:
    """(sequence, plaintext) of a datagram as STANDARD.md §9.2 has it, or None."""
    if not 29 <= len(data) <= 1200 or data[0] != 0x31 or struct.unpack_from("<I", data, 1)[0] != number:
        return None
    text = b"isthmus datagrams 1\0" + struct.pack("<QI", session, number) + address.encode()
    more = data[:13] + hashlib.sha256(text).digest()[:16]
    try:
        return struct.unpack_from("<Q", data, 5)[0], ChaCha20Poly1305(key).decrypt(
            bytes(4) + data[5:13], data[13:], more
        )
    except InvalidTag:
        return None


def parts(plain: bytes) -> tuple[int, list[list[Any]]]:
    """received, and [kind, hex] of each part, as STANDARD.md §9.3 has them."""
    (received,) = struct.unpack_from("<I", plain)
    at, out = 4, []
    while at < len(plain):
        kind, size = struct.unpack_from("<BH", plain, at)
        part = plain[at + 3 : at + 3 + size]
        if len(part) != size or (kind == 1 and size < 4):
            raise ValueError("a part is cut")
        out.append([kind, part.hex()])
        at += 3 + size
    return received, out


def stream(steps: list[dict[str, Any]]) -> None:
    """A client's stream as STANDARD.md §9.3 has it."""
    came: dict[int, int] = {}
    at = 0
    for step in steps:
        before = next(i for i in range(len(came) + 1) if i not in came)
        data = bytes.fromhex(step["hex"])
        came.update(enumerate(data, step["offset"]))
        end = next(i for i in range(len(came) + 1) if i not in came)
        out: list[str] | None = []
        if step["offset"] + len(data) > before + 65_536:
            out = None
        while out is not None and end - at >= 4:
            size = int.from_bytes(bytes(came[at + i] for i in range(4)), "little")
            if size > 65_536:
                out = None
            elif end - at < 4 + size:
                break
            else:
                out.append(bytes(came[at + 4 + i] for i in range(size)).hex())
                at += 4 + size
        if out != step["messages"] or (out is not None and end != step["received"]):
            raise ValueError(f"a stream gives {out}, the vector says {step['messages']}")


def compare(shown: dict[str, list[float]], expected: dict[str, list[float]]) -> None:
    """Raises ValueError unless both show the same entities at the same places."""
    if shown.keys() != expected.keys():
        raise ValueError("other entities are shown than the vector says")
    for entity, place in expected.items():
        if not all(math.isclose(a, b, abs_tol=1e-9) for a, b in zip(shown[entity], place, strict=True)):
            raise ValueError(f"entity {entity} is shown at {shown[entity]}, the vector says {place}")


def check_datagrams() -> int:
    """How many vectors of datagrams were checked. Raises as ``check``."""
    vectors = json.loads((VECTORS / "datagrams.json").read_text())
    for v in vectors["sealed"]:
        key, session, number = bytes.fromhex(v["key"]), int(v["session"]), v["number"]
        got = opened(key, session, number, v["address"], bytes.fromhex(v["hex"]))
        if got is None or got[0] != int(v["sequence"]):
            raise ValueError(f"{v['name']}: does not open")
        received, said = parts(got[1])
        if (received, said) != (v["received"], v["parts"]):
            raise ValueError(f"{v['name']}: says something else")
    first = vectors["sealed"][0]
    for v in vectors["refused"]:
        who = bytes.fromhex(first["key"]), int(first["session"]), first["number"], first["address"]
        if opened(*who, bytes.fromhex(v["hex"])) is not None:
            raise ValueError(f"{v['name']}: opens")
    for v in vectors["malformed"]:
        try:
            parts(bytes.fromhex(v["hex"]))
        except (ValueError, struct.error):
            continue
        raise ValueError(f"{v['name']}: is read")
    for v in vectors["replay"]:
        had: set[int] = set()
        for sequence, taken in ((int(s), t) for s, t in v["steps"]):
            fresh = sequence > 0 and sequence not in had and (not had or max(had) - sequence < 256)
            if fresh != taken:
                raise ValueError(f"{v['name']}: {sequence} is {'taken' if fresh else 'dropped'}")
            had.add(sequence)
    for v in vectors["streams"]:
        stream(v["steps"])
    client = DatagramClient()
    for step in vectors["values"]:
        data = bytes.fromhex(step["hex"])
        came = True
        if step["kind"] == "values":
            came = client.values(data)
        else:
            client.structure(data)
        if came != step["came"] or client.acknowledges() != (step["frame"], int(step["earlier"])):
            raise ValueError(f"VALUES {step['items']['frame']}: {came}, acknowledged {client.acknowledges()}")
        compare(client.shown(step["shown_at"]), step["shown"])
    types = {"Input": 2, "Ack": 3, "AskDatagrams": 10, "Token": 27}
    for v in vectors["messages"]:
        items = message(bytes.fromhex(v["hex"]))
        if items[0] != types[v["kind"]] or (
            items[0] == 27 and not len(items[3]) == len(items[4]) == 32 * bool(items[1])
        ):
            raise ValueError(f"{v['kind']} is {items}")
    return sum(map(len, vectors.values()))


def check() -> int:
    """How many messages were checked. Raises ValueError or KeyError where a vector and the standard disagree."""
    vectors = json.loads((VECTORS / "frames.json").read_text())
    client = Client()
    count = 0
    for step in vectors["stream"]["steps"]:
        data = bytes.fromhex(step["hex"])
        if step["kind"] == "structure":
            client.structure(data)
        else:
            client.frame(data)
        for ahead, expected in step["shown_after"].items():
            compare(client.shown(step["items"]["tick"] + float(ahead)), expected)
        count += 1
    types = {"Hello": 1, "Input": 2, "Ack": 3, "Say": 4, "Act": 5, "Bye": 6, "Welcome": 16, "Chat": 19, "Presence": 20}
    types |= {"Watch": 9, "Channel": 29, "Keyframe": 30, "Camera": 31}
    types |= {"Notice": 21, "Move": 22, "Schema": 23, "Closing": 24, "Event": 25, "Answer": 26}
    for vector in vectors["messages"]:
        items = message(bytes.fromhex(vector["hex"]))
        if items[0] != types[vector["kind"]]:
            raise ValueError(f"{vector['kind']} has type {items[0]}")
        if items[0] in (5, 26):
            acting(items)
        if items[0] in (9, 29, 30, 31):
            watching(items)
        count += 1
    for vector in vectors["crowds"]:
        crowd(bytes.fromhex(vector["hex"]), vector["items"])
        count += 1
    return count


if __name__ == "__main__":
    print(f"{check()} messages and {check_datagrams()} vectors of datagrams read by the standard alone")  # noqa: T201  # this is a program's output
