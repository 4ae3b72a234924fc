"""Markdown that generators share: tables, and text that must not be taken for Markdown."""

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a bar or a line's end in a cell stays within the cell."""
    lines = [_row(headings), _row(["---"] * len(headings)), *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def code(text: str) -> str:
    """Text in a code span; nothing for no text."""
    return f"`{text}`" if text else ""


def first_sentence(doc: str | None) -> str:
    """The first paragraph of a docstring on one line. Raises ValueError if there is none."""
    if not doc or not doc.strip():
        raise ValueError("it has no docstring, and the reference is made of docstrings")
    return " ".join(doc.strip().split("\n\n")[0].split())
