"""Lines over time as SVG, in text: no script, no font, no file beside it.

Decides how axes are divided and colours given. Invariant: pure; all plots of a report have the same time axis. Not
responsible for: which lines there are (``page``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, isfinite, log10

WIDTH, HEIGHT = 860, 190
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 10, 24
COLOURS = ("#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2", "#dc2626", "#65a30d", "#64748b", "#a16207")


@dataclass(frozen=True, slots=True)
class Line:
    """``points``: (seconds since the run began, value), ascending; a gap of more than ``gap_s`` is not drawn over."""

    name: str
    points: Sequence[tuple[float, float]]
    gap_s: float = 6.0


def steps(least: float, most: float, about: int) -> list[float]:
    """Round numbers from ``least`` to ``most``, some ``about`` of them: 1, 2 or 5 times a power of ten apart."""
    span = most - least
    if span <= 0.0 or not isfinite(span):
        return [least]
    power = 10.0 ** floor(log10(span / about))
    step = next(power * each for each in (1.0, 2.0, 5.0, 10.0) if span / (power * each) <= about)
    first = floor(least / step) * step
    found = []
    for k in range(about + 3):
        value = first + k * step
        if least - 1e-9 * span <= value <= most + 1e-9 * span:
            found.append(value)
    return found


def short(value: float) -> str:
    """A number for an axis."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.4g}"


def plot(
    title: str, lines: Sequence[Line], to_s: float, marks: Sequence[tuple[float, str]] = (), unit: str = "s"
) -> str:
    """One plot from second 0 to ``to_s``; ``marks``: moments with a name; ``unit``: of time, if not seconds."""
    values = [value for line in lines for _, value in line.points if isfinite(value)]
    most = max(values, default=0.0) * 1.05 or 1.0
    to_s = max(to_s, 1.0)

    def x(second: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(second, 0.0), to_s) / to_s

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / most

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">']
    for value in steps(0.0, most, 4):
        parts.append(f'<path class="grid" d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{short(value)}</text>')
    parts += [
        f'<text x="{x(second):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{short(second)} {unit}</text>'
        for second in steps(0.0, to_s, 10)
    ]
    for second, name in marks:
        parts.append(
            f'<path class="mark" d="M{x(second):.1f} {TOP}V{HEIGHT - BOTTOM}"><title>{escape(name)}</title></path>'
        )
    for index, line in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        parts.append(
            f'<path fill="none" stroke="{colour}" d="{_way(line, x, y)}"><title>{escape(line.name)}</title></path>'
        )
    parts.append("</svg>")
    names = "".join(
        f'<span><i style="background:{COLOURS[index % len(COLOURS)]}"></i>{escape(line.name)}</span>'
        for index, line in enumerate(lines)
    )
    return f'<figure><figcaption>{escape(title)}</figcaption>{"".join(parts)}<div class="legend">{names}</div></figure>'


def _way(line: Line, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    way, before_s = [], None
    for second, value in line.points:
        if not isfinite(value):
            continue
        letter = "L" if before_s is not None and second - before_s <= line.gap_s else "M"
        way.append(f"{letter}{x(second):.1f} {y(value):.1f}")
        before_s = second
    if len(way) == 1:  # one moment alone would not be seen
        way.append("h1")
    return "".join(way)
