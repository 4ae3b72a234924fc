"""In which line of a TOML text a key stands: ``tomllib`` does not tell.

A reader of lines, not of TOML: it follows table headers and ``key =`` at the start of a line and steps over strings of
several lines. A key that it does not find (an inline table, a dotted key in quotes) has no line, and its place is told
by its name alone.
"""

import re
from collections import Counter

_TABLE = re.compile(r"\s*\[\s*([A-Za-z0-9_.\- ]+?)\s*\]\s*(#.*)?$")
_ARRAY = re.compile(r"\s*\[\[\s*([A-Za-z0-9_\-]+)\s*\]\]\s*(#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\-]+)\s*=")
_FENCES = ('"""', "'''")


def lines_of(text: str) -> dict[str, int]:
    """Line number, from 1, of each table and key: ``{"world": 1, "world.rate_hz": 2, "channel[0].name": 4}``. The first
    one wins."""
    found: dict[str, int] = {}
    counts: Counter[str] = Counter()
    table, fence = "", ""
    for number, line in enumerate(text.splitlines(), start=1):
        if fence:
            fence = "" if fence in line else fence
            continue
        if header := _TABLE.match(line):
            table = header[1].replace(" ", "")
            found.setdefault(table, number)
        elif header := _ARRAY.match(line):
            table = f"{header[1]}[{counts[header[1]]}]"
            counts[header[1]] += 1
            found.setdefault(header[1], number)
            found[table] = number
        elif key := _KEY.match(line):
            found.setdefault(f"{table}.{key[1]}" if table else key[1], number)
        fence = next((mark for mark in _FENCES if line.count(mark) % 2), "")
    return found
