"""The page itself: what is always there, and that nothing on it lies over something else."""

import pytest
from playwright.sync_api import FloatRect

from tests.e2e.conftest import Visit

PARTS = ("header.panel", "aside.panel", "section.panel", "#attribution")


def test_who_made_the_map_is_always_said(visit: Visit) -> None:
    anna = visit("Anna")
    anna.until("the attribution", lambda: "OpenStreetMap" in anna.page.inner_text("#attribution"))
    assert anna.page.locator("#attribution").is_visible()


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (844, 390), (390, 780)])
def test_nothing_lies_over_anything_else(visit: Visit, size: tuple[int, int]) -> None:
    anna = visit("Anna")
    anna.page.set_viewport_size({"width": size[0], "height": size[1]})
    for i in range(6):
        anna.say(f"A line of some length, to see where it goes: number {i}")
        anna.hears(f"A line of some length, to see where it goes: number {i}")
    boxes = {part: anna.page.locator(part).bounding_box() for part in PARTS}
    for part, box in boxes.items():
        assert box is not None, part
        assert min(box["x"], box["y"]) >= 0, part
        assert box["x"] + box["width"] <= size[0], part
        assert box["y"] + box["height"] <= size[1], part
        for other, beside in boxes.items():
            if other > part and beside is not None:
                assert not _overlap(box, beside), f"{part} and {other} overlap at {size}: {box} {beside}"


def _overlap(a: FloatRect, b: FloatRect) -> bool:
    return (
        a["x"] < b["x"] + b["width"]
        and b["x"] < a["x"] + a["width"]
        and a["y"] < b["y"] + b["height"]
        and b["y"] < a["y"] + a["height"]
    )
