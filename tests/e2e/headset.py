"""Somebody with a headset: IWER, Meta's emulator of WebXR, is put into the page by the test alone."""

from dataclasses import dataclass
from math import atan2, cos, hypot, sin
from typing import Any

import pytest

from tests.e2e.served import ROOT
from tests.e2e.visitor import Point, Visitor

IWER = ROOT / "web/node_modules/iwer/build/iwer.min.js"
# Chromium has a runtime of its own, without a device behind it.
INSTALL = """
window.emulated = new IWER.XRDevice(IWER.metaQuest3);
window.emulated.installRuntime({ forceInstall: true });
"""
HEAD, LEFT, RIGHT = 0, 1, 2
NAMES = ("", "left", "right")
Place = tuple[float, float, float]
Turn = tuple[float, float, float, float]


def emulator() -> str:
    """The script that gives a page a headset."""
    if not IWER.exists():
        pytest.fail("IWER is not installed: run `make web`", pytrace=False)
    return IWER.read_text() + INSTALL


@dataclass
class Headset:
    """A visitor's headset and controllers; places are metres in the room, turns quaternions (x, y, z, w)."""

    visitor: Visitor

    def put_on(self) -> None:
        """By the page's button; one is in the world already, and keeps the body."""
        body = self.visitor.get("body")
        self.visitor.page.get_by_role("button", name="Enter VR").click()
        self.visitor.until("the headset to be on", lambda: self.about)
        self.visitor.until("to be welcomed with it", lambda: self.visitor.get("state") == "welcomed")
        assert self.visitor.get("body") == body

    def take_off(self) -> None:
        """By the headset's own button."""
        self.visitor.page.evaluate("window.emulated.activeSession.end()")
        self.visitor.until("the headset to be off", lambda: self.about is None)
        self.visitor.until("to be welcomed without it", lambda: self.visitor.get("state") == "welcomed")

    def leave(self) -> None:
        """Leave the world. The emulator keeps the page's canvas over its buttons, so that no mouse reaches them."""
        self.visitor.page.locator("#leave").dispatch_event("click")
        self.visitor.until("to have left", lambda: self.visitor.get("state") == "ended")

    @property
    def about(self) -> Any:
        """What the page says of the headset; None while it is off."""
        return self.visitor.get("headset")

    def part(self, part: int) -> tuple[float, ...]:
        """Where head or hand is in the world: x, y, z, and its rotation."""
        return tuple(self.about["parts"][part])

    def move(self, part: int, place: Place, turn: Turn = (0.0, 0.0, 0.0, 1.0)) -> None:
        """Put head or controller there."""
        self.visitor.page.evaluate(
            """([name, p, q]) => {
                const device = window.emulated, moved = name === '' ? device : device.controllers[name];
                moved.position.set(...p); moved.quaternion.set(...q);
            }""",
            [NAMES[part], place, turn],
        )
        self._frames_pass()

    def hand_to(self, hand: int, place: Place) -> None:
        """The hand, not the controller's tip, to a place in the world; for a room that is not turned."""
        device = f"window.emulated.controllers.{NAMES[hand]}.position"
        for _ in range(2):
            now = self.part(hand)
            p = self.visitor.page.evaluate(f"[{device}.x, {device}.y, {device}.z]")
            self.move(hand, (p[0] + place[0] - now[0], p[1] + place[1] - now[1], p[2] + place[2] - now[2]))

    def stick(self, hand: int, x: float, y: float) -> None:
        """Push a thumbstick: x to the right, y towards the person."""
        self.visitor.page.evaluate(f"window.emulated.controllers.{NAMES[hand]}.updateAxes('thumbstick', {x}, {y})")
        self._frames_pass()

    def press(self, hand: int, button: str, value: float) -> None:
        """``trigger`` or ``squeeze``, 0 to 1."""
        self.visitor.page.evaluate(f"window.emulated.controllers.{NAMES[hand]}.updateButtonValue('{button}', {value})")
        self._frames_pass()

    def walk_to(self, point: Point) -> None:
        """With the left stick, looking along −Z."""

        def arrived() -> bool:
            x, z = self.visitor.at
            away = hypot(point[0] - x, point[1] - z)
            push = min(1.0, 0.25 + 0.5 * away) if away > 0.15 else 0.0
            direction = atan2(point[0] - x, point[1] - z)
            self.stick(LEFT, push * sin(direction), push * cos(direction))
            return push == 0.0

        self.visitor.until(f"to have walked to {point}", arrived)

    def _frames_pass(self) -> None:
        self.visitor.page.evaluate(
            "new Promise(r => window.emulated.activeSession.requestAnimationFrame(() => "
            "window.emulated.activeSession.requestAnimationFrame(r)))"
        )
