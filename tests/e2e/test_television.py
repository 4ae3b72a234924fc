"""A television in a browser, worked with the keys of a remote control."""

from math import dist

from tests.e2e.conftest import Visit
from tests.e2e.served import Served

SMOOTH_M = 0.6
"""The camera flies with 3.8 m/s: farther it does not go within 100 ms, and on a busy machine no farther for each."""


def test_channels_play_change_and_go_back_in_time(visitors: Visit, studio: Served) -> None:
    tv = visitors(f"{studio.url}tv")
    press = tv.page.keyboard.press
    tv.until("the world's first channel", lambda: tv.get("channel") == "live")
    tv.until("people in the picture", lambda: tv.get("view") and tv.get("inView") > 10)
    tv.until("its title", lambda: tv.page.inner_text("#title") == "Where something happens")
    tv.ticks_pass(10)

    press("ArrowDown")
    tv.until("the next channel", lambda: tv.get("channel") == "flight")
    assert tv.page.inner_text("#title") == "Around the square"
    tv.until("its camera", lambda: tv.get("view"))
    begin = tv.get("view")
    far = tv.page.evaluate(FLY, 1500)
    assert far["most"] < SMOOTH_M * max(1.0, far["slowest"] / 100), far
    assert dist(begin[:3], tv.get("view")[:3]) > 2, "it flies"
    assert dist(tv.get("view"), tv.get("directed")) < 2, "where the director wants it"
    tv.until("five seconds of it to be kept", lambda: _kept(tv.page.evaluate(GUIDE), "flight") >= 5)

    before = tv.get("tick")
    press("ArrowLeft")
    tv.until("to go back", lambda: tv.get("behindS") >= 4 and tv.get("tick") < before)
    assert tv.get("channel") == "flight"
    tv.until("to be told so", lambda: tv.page.inner_text("#time").endswith(" s ago"))
    tv.ticks_pass(5)
    press("Backspace")
    tv.until("the present", lambda: tv.get("behindS") == 0 and tv.get("tick") > before)

    press("Enter")
    tv.until("the guide", lambda: tv.page.locator("#guide li").count() == 3)
    assert tv.page.inner_text("#guide li[aria-selected=true] b") == "Around the square"
    press("ArrowDown")
    tv.until("the next row", lambda: "cups" in tv.page.inner_text("#guide li[aria-selected=true] b"))
    press("Enter")
    tv.until("the channel that was chosen", lambda: tv.get("channel") == "table")
    assert not tv.page.locator("#guide").is_visible()
    tv.until("a crowd behind those who are told", lambda: tv.get("crowd") > 20 and tv.get("inView") == 12)
    assert tv.get("drawCalls") < 20
    assert tv.get("rejected") == 0
    assert tv.errors == []


FLY = """async ms => {
    // The largest step of the camera between two pictures, and the longest time between two.
    let [most, slowest, last, at] = [0, 0, window.isthmus.view, performance.now()];
    const end = at + ms;
    while (performance.now() < end) {
        await new Promise(requestAnimationFrame);
        const [view, now] = [window.isthmus.view, performance.now()];
        most = Math.max(most, Math.hypot(...[0, 1, 2].map(i => view[i] - last[i])));
        slowest = Math.max(slowest, now - at);
        [last, at] = [view, now];
    }
    return { most, slowest };
}"""
GUIDE = "fetch('/channels.json', { cache: 'no-store' }).then(response => response.json())"


def _kept(guide: dict[str, list[dict[str, int]]], name: object) -> int:
    return next(channel["behind_s_max"] for channel in guide["channels"] if channel["name"] == name)
