"""One person at one page: what they do, and what the page says of itself (``window.isthmus``)."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import atan2, hypot, pi
from typing import Any

from playwright.sync_api import ConsoleMessage, Error, Page

PATIENCE_S = 40.0
"""How long a condition may take to come true: a page drawn in software on a busy machine is slow."""
LOOK_MS = 40
RADIANS_PER_PIXEL = 0.0028
Point = tuple[float, float]


@dataclass
class Visitor:
    """A page, and what went wrong on it."""

    page: Page
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._heard)

    def _heard(self, message: ConsoleMessage) -> None:
        text = message.text
        if message.type == "error" or text.startswith("protocol:") or "Content Security Policy" in text:
            self.errors.append(text)

    # ------------------------------------------------------------------------------------------------------ the page
    def get(self, name: str) -> Any:
        """One part of the page's state."""
        return self.page.evaluate(f"window.isthmus.{name}")

    def until(self, what: str, true: Callable[[], Any]) -> Any:
        """Wait for ``true`` to return something true, and return that. Fails naming ``what``."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            found = true()
            if found:
                return found
            self.page.wait_for_timeout(LOOK_MS)
        raise AssertionError(f"waited {PATIENCE_S:.0f} s in vain: {what}; the page says {self.about()}")

    def about(self) -> dict[str, Any]:
        """For messages of failures."""
        try:
            parts = ("state", "body", "tick", "position", "rttMs", "people", "tiles", "unacknowledged", "rejected")
            about = {name: self.get(name) for name in (*parts, "headset")}
        except Error as error:
            about = {"unreadable": str(error)}
        return {**about, "errors": self.errors}

    # ----------------------------------------------------------------------------------------------------- going in
    def open(self, url: str) -> None:
        """Load the page."""
        self.page.goto(url)

    def enter(self, name: str) -> None:
        """Fill in the form, and be in the world with a body that walks."""
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_role("button", name="Enter").click()
        self.arrive()

    def arrive(self) -> None:
        """Wait until the body is in the world, the map around it is here and it can walk."""
        self.until("to be welcomed", lambda: self.get("state") == "welcomed")
        self.until("to have a place", lambda: self.get("position"))
        self.until("to have the map around the body", lambda: self.get("predicting"))

    def leave(self) -> None:
        """Leave by the button."""
        self.page.get_by_role("button", name="Leave").click()
        self.until("to have left", lambda: self.get("state") == "ended")

    # ------------------------------------------------------------------------------------------------------ the world
    @property
    def at(self) -> Point:
        """Where the own body is shown, (x, z) in metres."""
        x, _, z = self.get("position")
        return x, z

    def other(self, body: str) -> dict[str, Any] | None:
        """An entity in view, by its id."""
        found: dict[str, Any] | None = self.page.evaluate(
            "id => window.isthmus.entities.find(entity => entity.id === id) ?? null", body
        )
        return found

    def where(self, body: str) -> Point:
        """Where another body is drawn on this page, (x, z) in metres; waits until it is in view."""
        x, _, z = self.until(f"to see entity {body}", lambda: self.other(body))["position"]
        return x, z

    def look_at(self, point: Point) -> None:
        """Turn the camera by dragging, so that ``point`` is straight ahead."""
        x, z = self.at
        yaw = atan2(x - point[0], z - point[1])
        for _ in range(4):
            turn = (yaw - self.get("yaw") + pi) % (2 * pi) - pi
            if abs(turn) < 0.01:
                return
            pixels = max(-280.0, min(280.0, -turn / RADIANS_PER_PIXEL))
            self.page.mouse.move(320, 200)
            self.page.mouse.down()
            self.page.mouse.move(320 + pixels, 200)
            self.page.mouse.up()

    def ticks_pass(self, count: int) -> None:
        """Wait until the world has gone on by ``count`` ticks."""
        begun = self.get("tick")
        self.until(f"{count} ticks of the world", lambda: self.get("tick") >= begun + count)

    # ------------------------------------------------------------------------------------------------------- talking
    def say(self, text: str) -> None:
        """Write a line, as a person does: Enter, the text, Enter."""
        self.page.locator("#view").focus()
        self.page.keyboard.press("Enter")
        self.page.keyboard.insert_text(text)
        self.page.keyboard.press("Enter")

    def hears(self, text: str) -> dict[str, Any]:
        """Wait for a line with ``text``; returns the log's entry, after checking that it is on the page as well."""
        found: dict[str, Any] = self.until(
            f"to hear {text!r}", lambda: next((line for line in self.get("chat") if line["text"] == text), None)
        )
        assert text in self.page.locator("#chat-lines").inner_text()
        return found

    def tags(self) -> list[str]:
        """The name tags that are shown now."""
        return [text.strip() for text in self.page.locator("#tags .tag:visible").all_inner_texts()]


def distance(a: Point, b: Point) -> float:
    """Metres."""
    return hypot(a[0] - b[0], a[1] - b[1])
