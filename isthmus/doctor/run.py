"""``isthmus doctor``: gather, judge, tell. Decides only how findings look, and the status: 1 if something does not
work."""

import asyncio
import sys
from collections import Counter

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from isthmus.config import Config
from isthmus.doctor import machine, services
from isthmus.doctor.facts import Facts, Finding, Level
from isthmus.doctor.gather import gather

_LOOKS = {
    Level.OK: ("ok", "green"),
    Level.NOTE: ("note", "cyan"),
    Level.WARNING: ("warning", "yellow"),
    Level.ERROR: ("ERROR", "bold red"),
}


def judge(facts: Facts, config: Config) -> list[Finding]:
    """All findings; what needs hands first."""
    found = [*machine.check(facts, config), *services.check(facts)]
    return sorted(found, key=lambda finding: -finding.level)


def status_of(findings: list[Finding]) -> int:
    """The exit status."""
    return int(any(finding.level is Level.ERROR for finding in findings))


def as_json(findings: list[Finding]) -> bytes:
    """``{"status": …, "findings": [{"level": "error", "about": …, "text": …, "remedy": …}]}``."""
    told = [
        {"level": each.level.name.lower(), "about": each.about, "text": each.text, "remedy": each.remedy}
        for each in findings
    ]
    return msgspec.json.format(msgspec.json.encode({"status": status_of(findings), "findings": told}), indent=1)


def draw(findings: list[Finding]) -> Table:
    """For people."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    for finding in findings:
        word, style = _LOOKS[finding.level]
        text = Text(finding.text)
        if finding.remedy:
            text.append(f"\n→ {finding.remedy}", style="italic")
        table.add_row(Text(word, style), Text(finding.about), text)
    return table


def run(config: Config, for_programs: bool) -> int:
    """Look and tell; returns the exit status."""
    findings = judge(asyncio.run(gather(config)), config)
    if for_programs:
        sys.stdout.write(as_json(findings).decode() + "\n")
        return status_of(findings)
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(draw(findings))
    counts = Counter(finding.level for finding in findings)
    told = f"{counts[Level.ERROR]} errors, {counts[Level.WARNING]} warnings, {counts[Level.NOTE]} notes"
    console.print(told, style="bold red" if counts[Level.ERROR] else "bold green")
    return status_of(findings)
