"""Parts of pages under docs/ that commands write: between two marks, which the page has to have.

Invariant: nothing outside the marks changes, and a page without them is an error, not a page with two parts more. Not
responsible for: what is written.
"""

from pathlib import Path

from bench.prepare import BENCH

PAGE = BENCH.parent / "docs" / "SCALING.md"


def marks(part: str) -> tuple[str, str]:
    """What stands before and behind ``part``."""
    return f"<!-- {part}: written by `make bench-{part}` -->", f"<!-- end of {part} -->"


def replaced(page: str, part: str, text: str) -> str:
    """The page with another text between its marks. Raises ValueError if it has not each of them once, in order."""
    begin, end = marks(part)
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(f"the page must have {begin} and {end} once each, in this order")
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n\n{text.strip()}\n\n{end}{rest.partition(end)[2]}"


def write(path: Path, part: str, text: str) -> None:
    """Renew ``part`` of the page at ``path``. Raises ValueError, OSError."""
    path.write_text(replaced(path.read_text(), part, text))
