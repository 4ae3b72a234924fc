"""The page itself: what is always there, and that nothing on it lies over something else."""

import pytest

from tests.e2e.conftest import Visit

PARTS = ("header.panel", "aside.panel", "section.panel", "#attribution")
Box = dict[str, float]


def test_who_made_the_map_is_always_said(visit: Visit) -> None:
    anna = visit("Anna")
    anna.until("the attribution", lambda: "OpenStreetMap" in anna.page.inner_text("#attribution"))
    assert anna.page.locator("#attribution").is_visible()


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (844, 390), (390, 780)])
def test_nothing_lies_over_anything_else(visit: Visit, size: tuple[int, int]) -> None:
    anna = visit("Anna")
    anna.page.set_viewport_size({"width": size[0], "height": size[1]})
    for i in range(6):
        anna.page.evaluate("0")  # let the page lay itself out between lines
        anna.say(f"A line of some length, to see where it goes: number {i}")
        anna.hears(f"A line of some length, to see where it goes: number {i}")
    boxes = {part: anna.page.locator(part).bounding_box() for part in PARTS}
    for part, box in boxes.items():
        assert box is not None, part
        assert box["x"] >= 0 and box["y"] >= 0, part
        assert box["x"] + box["width"] <= size[0] and box["y"] + box["height"] <= size[1], part
        for other, beside in boxes.items():
            if other > part and beside is not None:
                assert not _overlap(box, beside), f"{part} and {other} overlap at {size}: {box} {beside}"


def _overlap(a: Box, b: Box) -> bool:
    return (
        a["x"] < b["x"] + b["width"]
        and b["x"] < a["x"] + a["width"]
        and a["y"] < b["y"] + b["height"]
        and b["y"] < a["y"] + a["height"]
    )
