"""What machines do in the worlds of our scenarios: they report what they measure; everybody near them is told of it.

A machine is a client of profile ``device`` like any other: it has a body, and says what it knows by an act, which is
answered once it is done.
"""

from typing import Any

from isthmus import Refused, Rows, Script, World


def add_machines(script: Script) -> None:
    """The action ``report``, with ``{"reading": 21.5}``. Answer: how many reports this body has made."""
    reading = script.component("reading", "f4", replicate=True)
    reports = script.component("reports", "u4", replicate=True)
    script.extend("person", [reading, reports])

    @script.action("report")
    def report(world: World, rows: Rows, payloads: list[Any]) -> list[int]:
        value = payloads[0].get("reading") if isinstance(payloads[0], dict) else None
        if not isinstance(value, int | float):
            raise Refused("a report is a map with a number as its reading")
        rows.reading[:] = value
        rows.reports += 1
        return [int(rows.reports[0])]
