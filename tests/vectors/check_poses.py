"""Reads protocol/vectors/pose.json by STANDARD.md §11 alone: imports nothing of ours but the other checker's
msgpack."""

import json
import math
import struct
from pathlib import Path
from typing import Any

from tests.vectors.check_standard import Columns, message

PATH = Path(__file__).parents[2] / "protocol" / "vectors" / "pose.json"


def rotation(packed: int, bits: int, half: int) -> list[float]:
    """10.1, unpacking."""
    c = [((packed >> (bits * k) & ((1 << bits) - 1)) - half) / (half * math.sqrt(2)) for k in range(3)]
    square = sum(v * v for v in c)
    if square > 1:
        c = [v / math.sqrt(square) for v in c]
    c.insert(packed >> (3 * bits), math.sqrt(max(0.0, 1 - square)))
    return c


def packed(q: list[float], bits: int, half: int) -> int:
    """10.1, packing; for rotations none of whose components is on a boundary between two values."""
    length = math.sqrt(sum(v * v for v in q))
    largest = max(range(4), key=lambda k: abs(q[k]))
    scale = math.copysign(1 / length, q[largest])
    rest = [round(q[k] * scale * math.sqrt(2) * half) + half for k in range(4) if k != largest]
    return rest[0] | rest[1] << bits | rest[2] << 2 * bits | largest << 3 * bits


def near(a: Any, b: Any) -> bool:
    """The same values, to 1e-9."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(near(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(near(x, y) for x, y in zip(a, b, strict=True))
    return a is b or a == b or math.isclose(a, b, abs_tol=1e-9)


def told(data: bytes, held: dict[str, Any]) -> None:
    """10.3: what a POSES message changes in ``held``."""
    kind, _stream, _tick, _sseq, block = message(data)
    if kind != 32:
        raise ValueError("not POSES")
    c = Columns(block, data, 4)
    n, m, s, zero = c.take("H", 4)
    parts = [(c.take("I", s), c.take("I", s)) for _ in range(3)]
    heads, numbers, mid_numbers = c.take("I", m), c.take("H", n), c.take("H", m)
    hands = [c.take("H", m) for _ in range(2)]
    counts, back, tracked = c.take("B", n), c.take("B", s), c.take("B", s)
    grips = [c.take("B", s) for _ in range(2)]
    if zero or c.at != len(block) or sum(counts) != s:
        raise ValueError("block has bytes that the standard does not name")
    at = 0
    for number, count in zip(numbers, counts, strict=True):
        samples = []
        for k in range(at, at + count):
            shown: list[Any] = []
            origin = [0, 320, 0]
            for part, (p, q) in enumerate(parts):
                place = [origin[a] + (p[k] >> 10 * a & 1023) - 512 for a in range(3)]
                if part == 0:
                    origin = place
                is_there = tracked[k] >> part & 1
                shown.append({"p": [v / 256 for v in place], "q": rotation(q[k], 10, 511)} if is_there else None)
            grip = [[(g[k] >> 4) / 15, (g[k] & 15) / 15] for g in grips]
            samples.append(
                dict(zip(("head", "left", "right"), shown, strict=True)) | {"back_ms": back[k], "grip": grip}
            )
        at += count
        held.pop(str(number), None)
        if samples:
            held[str(number)] = samples
    for k, number in enumerate(mid_numbers):
        place = [(heads[k] >> (17 + 5 * a) & 31) - 16 + (20 if a == 1 else 0) for a in range(3)]
        sample: dict[str, Any] = {"back_ms": 0, "head": {"p": [v / 16 for v in place]}, "grip": []}
        sample["head"]["q"] = rotation(heads[k] & 0x1FFFF, 5, 15)
        for name, hand in zip(("left", "right"), hands, strict=True):
            there = {"p": [(place[a] + (hand[k] >> 5 * a & 31) - 16) / 16 for a in range(3)], "q": [0, 0, 0, 1]}
            sample[name] = None if hand[k] == 65535 else there
            sample["grip"].append([0 if hand[k] == 65535 else hand[k] >> 15, 0])
        held[str(number)] = [sample]


def check() -> int:
    """How many vectors were checked. Raises ValueError where one and the standard disagree."""
    vectors = json.loads(PATH.read_text())
    for v in vectors["rotations"]:
        if packed(v["q"], 10, 511) != v["fine"] or not near(rotation(v["fine"], 10, 511), v["says"]):
            raise ValueError(f"fine rotation {v}")
        if not near(rotation(v["coarse"], 5, 15), v["coarse_says"]):
            raise ValueError(f"coarse rotation {v}")
        length = math.sqrt(sum(c * c for c in v["q"]))
        for says, degrees in ((v["says"], 0.3), (v["coarse_says"], 10.3)):
            dot = abs(sum(a * b / length for a, b in zip(v["q"], says, strict=True)))
            if math.degrees(2 * math.acos(min(1.0, dot))) > degrees:
                raise ValueError(f"rotation {v} is off by more than {degrees} degrees")
    for v in vectors["said"]:
        kind, stamp, samples = message(bytes.fromhex(v["hex"]))
        if kind != 8 or stamp != v["stamp"] or not 1 <= len(samples) // 34 <= 3 or len(samples) % 34:
            raise ValueError(f"POSE {v}")
        for at in range(0, len(samples), 34):
            _back, tracked, *_ = struct.unpack_from("<BBBB3I9h", samples, at)
            if tracked & 1 == 0 or tracked > 7:
                raise ValueError("POSE: tracked")
    held: dict[str, Any] = {}
    for v in vectors["heard"]:
        told(bytes.fromhex(v["hex"]), held)
        if not near(held, v["held"]):
            raise ValueError(f"POSES says {held}, the vector {v['held']}")
    return sum(map(len, vectors.values()))
