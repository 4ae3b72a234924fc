"""Makes protocol/vectors/frames.json anew: `python -m tests.vectors.generate_frames`.

The file is the reference of the wire once it is committed; make it anew only together with a change of STANDARD.md.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from protocol import crowds, frames, messages
from protocol.acting import Act, Answer
from protocol.channels import Camera, Channel, Keyframe, Watch
from protocol.layouts import OWN
from protocol.messages import pack

PATH = Path(__file__).parents[2] / "protocol" / "vectors" / "frames.json"


def columns(message: Any) -> dict[str, Any]:
    """The items of a message with a block, as JSON has them."""
    out: dict[str, Any] = {}
    for name in (field.name for field in fields(message)):
        value = getattr(message, name)
        if isinstance(value, np.ndarray):
            value = value.tolist()
        elif isinstance(value, bytes):
            value = value.hex()
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], bytes):
            value = [blob.hex() for blob in value]
        elif isinstance(value, tuple):
            value = list(value)
        out[name] = value
    return out


def _stream() -> list[frames.Structure | frames.Frame]:
    own = np.zeros(1, OWN)
    own["seq"], own["stamp"], own["hold_ms"], own["flags"], own["steps"] = 7, 123456, 18, 1, 2
    own["p"], own["v"] = [[-1280, 0, 64_000]], [[102, -3, 0]]
    return [
        frames.Structure(
            sseq=1,
            tick=100,
            frame=1,
            origin=(-1280, 0, 64_000),
            enter_id=np.array([5, 2**63 + 9, 77], "<u8"),
            enter_number=np.array([0, 1, 2], "<u2"),
            enter_kind=np.array([1, 1, 3], "<u2"),
            enter_p=np.array([[0, 0, 0], [-32000, 12, 32000], [128, -128, 1]], "<i2"),
            enter_v=np.array([[0, 0, 0], [160, 0, -160], [-32767, 3, 32767]], "<i2"),
            enter_age=np.array([0, 3, 255], "u1"),
            enter_yaw=np.array([0, 64, 255], "u1"),
            enter_blobs=[pack({}), pack({1: "Åsa", 2: 3}), pack({1: "b", 9: [1.5, None, True]})],
        ),
        frames.Frame(stream=1, frame=1, tick=100, sseq=1),
        frames.Frame(
            stream=1,
            frame=2,
            tick=101,
            sseq=1,
            own=own.tobytes(),
            delta_number=np.array([1, 0], "<u2"),
            delta_d=np.array([[1, -1, 127], [-128, 0, 3]], "i1"),
            delta_dv=np.array([[-7, 0, 9], [127, -128, 1]], "i1"),
            delta_yaw=np.array([65, 1], "u1"),
        ),
        frames.Structure(
            sseq=2,
            tick=103,
            frame=3,
            origin=(-1270, 4, 64_010),
            leave_number=np.array([2], "<u2"),
            state_number=np.array([1], "<u2"),
            state_blobs=[pack({2: None, 4: -5})],
            enter_id=np.array([78], "<u8"),
            enter_number=np.array([300], "<u2"),
            enter_kind=np.array([2], "<u2"),
            enter_p=np.array([[-1, -2, -3]], "<i2"),
            enter_v=np.array([[15, -15, 16]], "<i2"),
            enter_age=np.array([1], "u1"),
            enter_yaw=np.array([128], "u1"),
            enter_blobs=[pack({1: "x" * 40})],
        ),
        frames.Frame(
            stream=1,
            frame=3,
            tick=103,
            sseq=2,
            origin=(-1270, 4, 64_010),
            delta_number=np.array([300], "<u2"),
            delta_d=np.array([[0, 1, 0]], "i1"),
            delta_dv=np.array([[1, 1, 1]], "i1"),
            delta_yaw=np.array([129], "u1"),
            full_number=np.array([0, 1], "<u2"),
            full_p=np.array([[9, 8, -7], [-3000, 0, 2999]], "<i2"),
            full_v=np.array([[-1, 1, 0], [0, 0, 0]], "<i2"),
            full_age=np.array([0, 2], "u1"),
            full_yaw=np.array([3, 4], "u1"),
        ),
        frames.Frame(
            stream=1,
            frame=4,
            tick=70_000,
            sseq=2,
            delta_number=np.array([0, 300], "<u2"),
            delta_d=np.array([[2, 2, 2], [-1, -1, -1]], "i1"),
            delta_dv=np.array([[0, 0, 0], [0, 0, 0]], "i1"),
            delta_yaw=np.array([0, 0], "u1"),
        ),
    ]


def stream_vector() -> dict[str, Any]:
    """One stream: each message with its items, and what a client then shows (ids and metres as shortest decimals)."""
    records = frames.Records()
    steps = []
    for message in _stream():
        if isinstance(message, frames.Structure):
            data, kind = frames.encode_structure(message), "structure"
            records.apply_structure(message)
        else:
            data, kind = frames.encode_frame(message), "frame"
            records.apply_frame(message)
        shown = {}
        for ahead in (0.0, 0.25, 1.0):
            ids, places = records.shown(message.tick + ahead)
            shown[str(ahead)] = {str(i): p for i, p in zip(ids.tolist(), places.tolist(), strict=True)}
        steps.append({"kind": kind, "hex": data.hex(), "items": columns(message), "shown_after": shown})
    return {"name": "one stream", "steps": steps}


def message_vectors() -> list[dict[str, Any]]:
    """Messages of both directions other than frames."""
    m = messages
    welcome = m.Welcome(
        1, 7, 2, b"\x01" * 32, "helsinki", 2**33, 20, 3, 99, 1, "desktop", 100.0, 30.0, None, b"12345678",
        (60.17, 24.94, 12.5), "/map/index.json", "© OpenStreetMap contributors", 200, "isthmus 0.1.0", 41,
    )  # fmt: skip
    said: list[m.ClientMessage] = [
        m.Hello(1, 1, "a.b.c", "Åsa", "desktop", None, b"12345678", "test/1"),
        m.Hello(1, 2, None, None, "observer", b"\x00\xff" * 16, None, ""),
        m.Input(2**32 - 1, 70_000, 12, bytes([*range(6), 30, 0])),
        m.Ack(3, 2**31),
        m.Say(2, "hi", 2**63 + 1),
        Act(1, "ring", None),
        Act(2**32 - 1, "kåpa", {"what": ["apple", 3, -1.5, True, None], "seal": b"\x00\xff"}),
        m.Bye(),
        Watch(None),
        Watch("square", 60),
    ]
    heard: list[m.ServerMessage] = [
        welcome,
        m.Chat(1, 5, "Åsa", "hello", 3),
        m.Presence(12, ((5, "Åsa"), (6, "b")), (9,), 4),
        m.Notice(1, "slow down", 5),
        m.Move("wss://b.example/ws", b"t" * 32, 5000, 6),
        m.Schema({"kinds": [[0, "person"]], "components": [[1, "name", "str", "", None]]}, b"87654321", 7),
        m.Closing(4100, 5000, "full"),
        m.Event(None, "bell", {"times": 3}, 8),
        Answer(1, 0, {"rung": 3}, 9),
        Answer(2**32 - 1, 1, "not enough money", 10),
        Channel(0, "square", 2, "The square", 5.0, 20_400, ""),
        Channel(1, "nothing", text="there is no such channel"),
        Keyframe(2, 70_000, 2**33, 3, 2**32 - 3),
        Camera(2, 2**33, 0, None, (-1280, 1024, 70_000), (0, 154, -5), "12 people", 2**32 - 2),
        Camera(3, 12, 2000, 2**63 + 1, (0, 640, 1280), (0, 154, 0), "Åsa", 11),
    ]
    out = [{"from": "client", "kind": type(x).__name__, "hex": m.encode_client(x).hex()} for x in said]
    return out + [{"from": "server", "kind": type(x).__name__, "hex": m.encode_server(x).hex()} for x in heard]


def crowd_vectors() -> list[dict[str, Any]]:
    """CROWD with cells, and the one that says that there is none any more: the message, and its items."""
    cells = {"x": [-3, 0, 32_767], "z": [4, -32_768, 0], "count": [65_535, 1, 12], "vx": [-160, 0, 3], "vz": [7, 1, -9]}
    some = {name: np.array(column, "<u2" if name == "count" else "<i2") for name, column in cells.items()}
    said = [crowds.Crowd(1, 2**33, 32, **some), crowds.Crowd(1, 2**33 + 20, 32)]
    return [{"hex": crowds.encode(each).hex(), "items": columns(each)} for each in said]


def vectors() -> dict[str, Any]:
    """All that the file has."""
    return {"stream": stream_vector(), "messages": message_vectors(), "crowds": crowd_vectors()}


def main() -> None:
    """Write the file."""
    PATH.write_text(json.dumps(vectors(), indent=1) + "\n")


if __name__ == "__main__":
    main()
