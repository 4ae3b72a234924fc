"""A run's report on disk: ``report.html`` and ``report.json`` in a folder, and a few lines for the terminal.

Invariant: nothing is overwritten half: files appear whole. Not responsible for: what they say (``content``, ``page``).
"""

import json
from pathlib import Path
from typing import Any

from loadtest.report.page import figure, render


def write(folder: Path, content: dict[str, Any]) -> Path:
    """Write both; returns the page's path. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "report.html"
    for path, text in ((folder / "report.json", json.dumps(content)), (page, render(content))):
        part = path.with_suffix(f"{path.suffix}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    return page


def summary(content: dict[str, Any], page: Path) -> str:
    """What the terminal shows at the end."""
    lines = [f"{content['scenario']['title']}: {content['took_s']:.0f} s"]
    for budget in content["budgets"]:
        unit = f" {budget['unit']}" if budget["unit"] else ""
        value = "nothing measured" if budget["value"] is None else f"{figure(budget['value'])}{unit}"
        mark = "kept  " if budget["kept"] else "MISSED"
        lines.append(f"  {mark} {budget['entry']:12} {budget['title']}: {value}, at most {figure(budget['bound'])}")
    lines += [f"  {text}" for text in (*content["reasons"], *content["notes"])]
    return "\n".join([*lines, f"report: {page}", f"verdict: {content['verdict']}"])
