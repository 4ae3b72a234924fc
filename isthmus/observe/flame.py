"""Stacks that a sampler has seen, as text for other tools and as a picture.

Pure functions of counted stacks (outermost frame first). Decides three forms: *collapsed* (a line for each stack, what
Brendan Gregg's flamegraph.pl and many others read), *speedscope* (https://www.speedscope.app, its file format), and
an SVG that any browser shows. Not responsible for: sampling (``sampler``).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any
from zlib import crc32

Stack = tuple[str, ...]
WIDTH_PX, ROW_PX, CHAR_PX = 1200, 18, 6.6
LEAST_PX = 0.3
"""Narrower boxes are left out."""


_WAITING = (
    "Runner.run (asyncio/",
    "Condition.wait (",
    "_worker (thread/",
    "_worker (futures/",
    "EpollSelector.select (",
)
"""Innermost frames of a thread that has nothing to do."""
_LOOP = "Runner.run (asyncio/"


def at_work(stacks: Mapping[Stack, int]) -> Counter[Stack]:
    """Stacks of threads that were doing something, without the frames below the event loop: these are all alike."""
    out: Counter[Stack] = Counter()
    for stack, count in stacks.items():
        if stack[-1].startswith(_WAITING):
            continue
        loop = next((k for k, frame in enumerate(stack) if frame.startswith(_LOOP)), 0)
        out[stack[0], *stack[loop + 1 :]] += count
    return out


def collapsed(stacks: Mapping[Stack, int]) -> str:
    """``outer;inner count`` on a line for each stack."""
    # In a frame a semicolon would be another frame.
    lines = (f"{';'.join(frame.replace(';', ':') for frame in stack)} {n}\n" for stack, n in sorted(stacks.items()))
    return "".join(lines)


def speedscope(name: str, stacks: Mapping[Stack, int], every_s: float) -> dict[str, Any]:
    """A sampled profile in speedscope's format; each sample weighs ``every_s``."""
    index: dict[str, int] = {}
    samples = [[index.setdefault(frame, len(index)) for frame in stack] for stack in sorted(stacks)]
    weights = [every_s * stacks[stack] for stack in sorted(stacks)]
    profile = {
        "type": "sampled",
        "name": name,
        "unit": "seconds",
        "startValue": 0,
        "endValue": sum(weights),
        "samples": samples,
        "weights": weights,
    }
    return {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "shared": {"frames": [{"name": frame} for frame in index]},
        "profiles": [profile],
        "name": name,
        "exporter": "isthmus",
    }


@dataclass(slots=True)
class _Node:
    count: int = 0
    inner: dict[str, "_Node"] = field(default_factory=dict)


def svg(title: str, stacks: Mapping[Stack, int]) -> str:
    """A flame graph: outermost frames at the bottom, the width is the part of samples; a box tells its name and part
    when it is pointed at."""
    root = _Node()
    for stack, count in stacks.items():
        root.count += count
        node = root
        for frame in stack:
            node = node.inner.setdefault(frame, _Node())
            node.count += count
    depth = max(map(len, stacks), default=0)
    height_px = (depth + 2) * ROW_PX + 24
    boxes: list[str] = []
    _draw(root, "all", 0.0, 0, root.count or 1, height_px, boxes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {height_px}" width="{WIDTH_PX}" '
        f'height="{height_px}" font-family="monospace" font-size="11">\n<rect width="100%" height="100%" '
        f'fill="#fdfdfb"/>\n<text x="6" y="16" font-size="13">{escape(title)}</text>\n'
        + "\n".join(boxes)
        + "\n</svg>\n"
    )


def _draw(node: _Node, name: str, x_px: float, level: int, of: int, height_px: int, boxes: list[str]) -> None:
    width_px = WIDTH_PX * node.count / of
    if width_px < LEAST_PX:
        return
    y_px = height_px - (level + 1) * ROW_PX
    fits = int((width_px - 6) / CHAR_PX)
    text = name if len(name) <= fits else f"{name[: fits - 1]}…" if fits > 3 else ""
    # The same frame has the same colour in every picture: yellow to red, by its name.
    hue = crc32(name.encode()) % 50
    boxes.append(
        f"<g><title>{escape(name)}: {node.count} samples, {100 * node.count / of:.1f} %</title>"
        f'<rect x="{x_px:.1f}" y="{y_px}" width="{width_px:.1f}" height="{ROW_PX - 1}" rx="2" '
        f'fill="hsl({hue},75%,68%)"/><text x="{x_px + 3:.1f}" y="{y_px + 13}">{escape(text)}</text></g>'
    )
    for inner, child in sorted(node.inner.items()):
        _draw(child, inner, x_px, level + 1, of, height_px, boxes)
        x_px += WIDTH_PX * child.count / of
