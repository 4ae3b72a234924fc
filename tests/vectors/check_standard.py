"""Reads protocol/vectors/frames.json by STANDARD.md alone: imports nothing of ours, no NumPy, no msgpack library.

Run as a program it prints what it checked; where it and the library disagree, one of them or the page is wrong.
"""

import json
import math
import struct
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[2] / "protocol" / "vectors" / "frames.json"


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


def depth(value: Any) -> int:
    """How many arrays and maps are within each other; keys of maps must be texts."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key that is no text")
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def check() -> int:
    """How many messages were checked. Raises ValueError or KeyError where a vector and the standard disagree."""
    vectors = json.loads(PATH.read_text())
    client = Client()
    count = 0
    for step in vectors["stream"]["steps"]:
        data = bytes.fromhex(step["hex"])
        if step["kind"] == "structure":
            client.structure(data)
        else:
            client.frame(data)
        for ahead, expected in step["shown_after"].items():
            shown = client.shown(step["items"]["tick"] + float(ahead))
            for entity, place in expected.items():
                if not all(math.isclose(a, b, abs_tol=1e-9) for a, b in zip(shown[entity], place, strict=True)):
                    raise ValueError(f"entity {entity} is shown at {shown[entity]}, the vector says {place}")
            if shown.keys() != expected.keys():
                raise ValueError("other entities are shown than the vector says")
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
    return count


if __name__ == "__main__":
    print(f"{check()} messages read by the standard alone")  # noqa: T201  # this is a program's output
