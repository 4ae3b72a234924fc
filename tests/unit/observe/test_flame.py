"""Stacks of a running process: sampled within bounds, written in three forms."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from isthmus.observe import sampler
from isthmus.observe.flame import Stack, at_work, collapsed, speedscope, svg
from isthmus.observe.sampler import TOO_MANY, AlreadySampling, Sampler

STACKS: Counter[Stack] = Counter({("main", "tick", "encode <x>"): 60, ("main", "tick"): 30, ("main", "a;b"): 10})


@pytest.fixture
def waiting() -> Callable[[], None]:
    """A thread that waits in a function with a name of its own until the test is over."""
    over = threading.Event()

    def here_it_waits() -> None:
        over.wait()

    thread = threading.Thread(target=here_it_waits, name="worker")
    thread.start()

    def end() -> None:
        over.set()
        thread.join()

    return end


def test_a_thread_is_found_where_it_is(waiting: Callable[[], None]) -> None:
    try:
        found = Sampler().run(0.2, 50)
    finally:
        waiting()
    mine = [(stack, count) for stack, count in found.stacks.items() if stack[0] == "worker"]
    (stack, count), *others = mine
    assert not others, "it stands in one place"
    assert count == found.samples >= 1
    assert any("here_it_waits (observe/test_flame.py:" in frame for frame in stack)
    assert stack.index(next(f for f in stack if "here_it_waits" in f)) > 1, "outermost first"


@pytest.mark.parametrize(("seconds", "rate_hz"), [(0.0, 100.0), (61.0, 100.0), (1.0, 0.5), (1.0, 251.0)])
def test_beyond_the_bounds_nothing_is_sampled(seconds: float, rate_hz: float) -> None:
    with pytest.raises(ValueError, match=r"seconds|rate"):
        Sampler().run(seconds, rate_hz)


def test_one_at_a_time() -> None:
    one = Sampler()
    first = threading.Thread(target=one.run, args=(0.5, 20.0))
    first.start()
    try:
        while not one._busy.locked():
            pass
        with pytest.raises(AlreadySampling):
            one.run(0.1, 20.0)
    finally:
        first.join()
    assert one.run(0.05, 100.0).samples


def test_stacks_beyond_the_bound_are_one(monkeypatch: pytest.MonkeyPatch, waiting: Callable[[], None]) -> None:
    monkeypatch.setattr(sampler, "STACKS_MAX", 0)
    try:
        found = Sampler().run(0.05, 100)
    finally:
        waiting()
    assert set(found.stacks) == {TOO_MANY}


def test_who_waits_is_left_out_and_so_is_what_all_have() -> None:
    loop = "Runner.run (asyncio/runners.py:86)"
    seen: Counter[Stack] = Counter(
        {
            ("MainThread", "main (a.py:1)", loop): 80,
            ("MainThread", "main (a.py:1)", loop, "tick (host.py:5)"): 20,
            ("pool", "_worker (futures/thread.py:70)"): 100,
            ("pool", "_worker (futures/thread.py:70)", "write (disk.py:1)"): 5,
        }
    )
    assert at_work(seen) == {
        ("MainThread", "tick (host.py:5)"): 20,
        ("pool", "_worker (futures/thread.py:70)", "write (disk.py:1)"): 5,
    }


def test_collapsed_stacks_are_a_line_each() -> None:
    assert collapsed(STACKS).splitlines() == ["main;a:b 10", "main;tick 30", "main;tick;encode <x> 60"]


def test_speedscope_gets_indices_and_seconds() -> None:
    told = json.loads(json.dumps(speedscope("shard-0", STACKS, 0.01)))
    (profile,) = told["profiles"]
    frames = [frame["name"] for frame in told["shared"]["frames"]]
    by_stack = {
        tuple(frames[k] for k in sample): w for sample, w in zip(profile["samples"], profile["weights"], strict=True)
    }
    assert by_stack == {stack: pytest.approx(0.01 * count) for stack, count in STACKS.items()}
    assert profile["endValue"] == pytest.approx(1.0)


def test_the_picture_is_xml_whose_boxes_lie_within_their_callers() -> None:
    root = ElementTree.fromstring(svg("shard-0 & <others>", STACKS))
    space = "{http://www.w3.org/2000/svg}"
    boxes: dict[str, tuple[float, float, float]] = {}
    for group in root.iter(f"{space}g"):
        title, box = group.find(f"{space}title"), group.find(f"{space}rect")
        assert title is not None
        assert title.text
        assert box is not None
        boxes[title.text.partition(":")[0]] = float(box.attrib["x"]), float(box.attrib["width"]), float(box.attrib["y"])
    assert boxes["encode <x>"][1] == pytest.approx(0.6 * boxes["all"][1])
    for inner, outer in (("main", "all"), ("tick", "main"), ("encode <x>", "tick")):
        (x, width, y), (at, within, below) = boxes[inner], boxes[outer]
        assert at - 0.1 <= x
        assert x + width <= at + within + 0.1
        assert y < below


def test_nothing_seen_is_an_empty_picture() -> None:
    assert ElementTree.fromstring(svg("nothing", {})) is not None
