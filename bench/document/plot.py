"""Bar charts as SVG: a bar for each server, ours in another colour, readable on light and on dark ground."""

from collections.abc import Mapping
from html import escape

from bench.contenders import OURS

WIDTH, BAR, GAP, LEFT, TOP = 640, 22, 8, 130, 40
OUR_COLOUR, THEIR_COLOUR, TEXT_COLOUR = "#1f7a8c", "#9aa5b1", "#6b7280"


def bars(title: str, values: Mapping[str, float], digits: int = 2) -> str:
    """A chart of ``values`` by server."""
    most = max(values.values(), default=0.0) or 1.0
    room = WIDTH - LEFT - 80
    height = TOP + len(values) * (BAR + GAP) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"',
        f' role="img" font-family="sans-serif" font-size="13" fill="{TEXT_COLOUR}"><title>{escape(title)}</title>',
        f'<text x="{GAP}" y="24" font-size="15">{escape(title)}</text>',
    ]
    for k, (name, value) in enumerate(values.items()):
        y = TOP + k * (BAR + GAP)
        colour = OUR_COLOUR if name == OURS.name else THEIR_COLOUR
        long = max(1.0, room * value / most)
        parts.append(
            f'<text x="{LEFT - GAP}" y="{y + 16}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{LEFT}" y="{y}" width="{long:.1f}" height="{BAR}" rx="3" fill="{colour}"/>'
            f'<text x="{LEFT + long + 6:.1f}" y="{y + 16}">{value:,.{digits}f}</text>'
        )
    return "".join(parts) + "</svg>\n"
