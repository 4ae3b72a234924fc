"""The probes' own decoder of VALUES: it shows what the vectors say, and rejects what a server must not say."""

import json
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from bench.wire import WireError
from bench.wire_values import ValuesView
from protocol.frames import Structure, encode_structure
from protocol.values import Values, encode

STEPS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[3] / "protocol" / "vectors" / "datagrams.json").read_text()
)["values"]
ORIGIN = (1000, 0, -1000)


def take(view: ValuesView, data: bytes) -> None:
    items = msgpack.unpackb(data, strict_map_key=False)
    if items[0] == 17:
        view.count_structure(items[1])
        view.structure(items)
    else:
        view.frame_values(items)


def test_shows_what_the_vectors_say() -> None:
    view = ValuesView()
    for step in STEPS:
        take(view, bytes.fromhex(step["hex"]))
        assert (view.frame, str(view.earlier)) == (step["frame"], step["earlier"])
        numbers = np.flatnonzero(view.live)
        places = (16 * view.p[numbers] + view.v[numbers] * (step["shown_at"] - view.tick[numbers])[:, None]) / 2048
        shown = dict(zip((str(i) for i in view.id[numbers].tolist()), places.tolist(), strict=True))
        assert shown.keys() == step["shown"].keys()
        for entity, place in step["shown"].items():
            assert shown[entity] == pytest.approx(place, abs=1e-9)


def begun() -> ValuesView:
    """A view with number 3, and a full record of it in frame 1."""
    view = ValuesView()
    one = np.array([3], "<u2")
    take(view, encode_structure(Structure(
        1, 10, 1, ORIGIN, np.array([77], "<u8"), one, np.zeros(1, "<u2"), np.zeros((1, 3), "<i2"),
        np.zeros((1, 3), "<i2"), np.zeros(1, "u1"), np.zeros(1, "u1"), [b"\x80"], np.zeros(0, "<u2"),
    )))  # fmt: skip
    take(view, encode(full(frame=1, sseq=1)))
    return view


def full(frame: int, sseq: int, number: int = 3) -> Values:
    return Values(
        1, frame, 10 + frame, sseq, None, ORIGIN, full_number=np.array([number], "<u2"),
        full_p=np.array([[frame, 0, 0]], "<i2"), full_v=np.zeros((1, 3), "<i2"), full_age=np.zeros(1, "u1"),
        full_yaw=np.zeros(1, "u1"),
    )  # fmt: skip


def delta(frame: int, back: int, number: int = 3) -> Values:
    return Values(
        1, frame, 10 + frame, 1, None, None, delta_number=np.array([number], "<u2"),
        delta_d=np.array([[5, 0, 0]], "i1"), delta_dv=np.zeros((1, 3), "i1"), delta_yaw=np.zeros(1, "u1"),
        delta_base=np.array([back], "u1"),
    )  # fmt: skip


def test_a_delta_refers_to_the_frame_that_it_names() -> None:
    view = begun()
    take(view, encode(delta(2, 1)))
    take(view, encode(delta(3, 2)))  # to frame 1, not to the newest
    assert view.p[3].tolist() == [1000 + 1 + 5, 0, -1000]


LIES = {"base": delta(2, 2), "full": full(2, 1, number=9), "delta": delta(2, 1, number=9)}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_lies_are_found(lie: Values) -> None:
    with pytest.raises(WireError):
        take(begun(), encode(lie))


def test_values_wait_for_structure_and_count_as_come() -> None:
    view = begun()
    take(view, encode(full(2, sseq=2)))
    assert (view.frame, view.p[3, 0]) == (2, 1001)
    leaving = Structure(2, 12, 2, ORIGIN, leave_number=np.zeros(0, "<u2"))
    take(view, encode_structure(leaving))
    assert view.p[3, 0] == 1002


def test_what_came_twice_changes_nothing() -> None:
    view = begun()
    take(view, encode(delta(2, 1)))
    fulls, deltas = view.fulls, view.deltas
    take(view, encode(delta(2, 1)))
    assert (view.fulls, view.deltas) == (fulls, deltas)
