"""The decoder in C against all vectors. Nothing of protocol/*.py is used: what is expected are the vectors themselves,
and msgpack's reading of them."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.vectors.native import (
    BROKEN,
    DROPPED,
    FULL,
    MALFORMED,
    OK,
    SANITIZERS,
    SOURCES,
    U32,
    WAITS,
    Link,
    Native,
    compile_c,
    messages_in,
    said,
)

FOLDER = SOURCES.parent / "vectors"
FRAMES: dict[str, Any] = json.loads((FOLDER / "frames.json").read_text())
DATAGRAMS: dict[str, Any] = json.loads((FOLDER / "datagrams.json").read_text())
POSES: dict[str, Any] = json.loads((FOLDER / "pose.json").read_text())
MESSAGES: list[dict[str, str]] = FRAMES["messages"] + DATAGRAMS["messages"]
WELCOME = next(m["hex"] for m in MESSAGES if m["kind"] == "Welcome")


def named(vectors: list[Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=lambda v: str(v.get("name", v.get("kind"))))


def welcomed(native: Native, *, numbers: int = 512, datagrams: int = 0, profile: str = "desktop") -> None:
    """A new view that WELCOME was said to."""
    assert native.ask("view", numbers, datagrams)["result"] == OK
    welcome = msgpack.unpackb(bytes.fromhex(WELCOME))[1] | {"profile": profile}
    assert native.take(msgpack.packb([16, welcome]))["result"] == OK


def check_structure(got: dict[str, Any], items: dict[str, Any]) -> None:
    changes = got["changes"][1:]
    leaves, enters = items["leave_number"], items["enter_number"]
    assert (got["sseq"], got["tick"], got["frame"]) == (items["sseq"], items["tick"], items["frame"])
    assert [c["number"] for c in changes] == [*leaves, *enters, *items["state_number"]]
    assert [c["what"] for c in changes] == [0] * len(leaves) + [1] * len(enters) + [2] * len(items["state_number"])
    assert [c["blob"] for c in changes[len(leaves) :]] == items["enter_blobs"] + items["state_blobs"]
    for i, change in enumerate(changes[len(leaves) : len(leaves) + len(enters)]):
        assert (change["id"], change["kind"]) == (items["enter_id"][i], items["enter_kind"][i])
        assert change["p"] == [a + b for a, b in zip(items["origin"], items["enter_p"][i], strict=True)]
        assert (change["v"], change["yaw"]) == (items["enter_v"][i], items["enter_yaw"][i])
        assert change["record_tick"] == items["tick"] - items["enter_age"][i]


def check_values(got: dict[str, Any], items: dict[str, Any]) -> None:
    assert [got[k] for k in ("stream", "frame", "tick", "builds_on")] == [
        items[k] for k in ("stream", "frame", "tick", "sseq")
    ]
    assert (got["deltas"], got["fulls"]) == (len(items["delta_number"]), len(items["full_number"]))
    assert ("own" in got) == (items["own"] is not None)
    if items["own"] is not None:
        own, raw = got["own"], bytes.fromhex(items["own"])
        whole = [int.from_bytes(raw[a:b], "little") for a, b in ((0, 4), (4, 8), (8, 10), (10, 11), (11, 12))]
        assert [own[k] for k in ("seq", "stamp_ms", "hold_ms", "flags", "steps")] == whole
        assert own["p"] == [int.from_bytes(raw[i : i + 4], "little", signed=True) for i in (12, 16, 20)]
        assert own["v"] == [int.from_bytes(raw[i : i + 2], "little", signed=True) for i in (24, 26, 28)]


def check_shown(native: Native, tick: float, expected: dict[str, list[float]]) -> None:
    shown = native.shown(tick)
    assert set(shown) == set(expected)
    for entity, place in expected.items():
        assert shown[entity][:3] == pytest.approx(place, abs=1e-9)


def test_stream_of_frames(native: Native) -> None:
    welcomed(native)
    for step in FRAMES["stream"]["steps"]:
        got = native.ask("take", step["hex"])
        assert got["result"] == OK
        (check_structure if step["kind"] == "structure" else check_values)(got, step["items"])
        for ahead, expected in step["shown_after"].items():
            check_shown(native, step["items"]["tick"] + float(ahead), expected)


def test_yaw_of_deltas_and_fulls(native: Native) -> None:
    welcomed(native)
    entity_of: dict[int, int] = {}
    for step in FRAMES["stream"]["steps"][:5]:
        native.ask("take", step["hex"])
        items = step["items"]
        if step["kind"] == "structure":
            entity_of |= dict(zip(items["enter_number"], items["enter_id"], strict=True))
            continue
        shown = native.shown(items["tick"])
        for kind in ("delta", "full"):
            for number, yaw in zip(items[f"{kind}_number"], items[f"{kind}_yaw"], strict=True):
                assert shown[str(entity_of[number])][3] == yaw


def test_values(native: Native) -> None:
    welcomed(native, datagrams=1)
    waited = 0
    for step in DATAGRAMS["values"]:
        got = native.ask("take", step["hex"])
        assert (got["result"] in (OK, WAITS)) == step["came"]
        waited += got["result"] == WAITS
        (check_structure if step["kind"] == "structure" else check_values)(got, step["items"])
        assert (got["view_frame"], str(got["view_earlier"])) == (step["frame"], step["earlier"])
        check_shown(native, step["shown_at"], step["shown"])
    assert waited == 3  # frames 1, 6 and 5


@named([m for m in MESSAGES if m["from"] == "server"])
def test_messages_of_a_server(native: Native, vector: dict[str, str]) -> None:
    items = msgpack.unpackb(bytes.fromhex(vector["hex"]), strict_map_key=False)
    native.ask("view", 512, 0)
    got = native.ask("take", vector["hex"])
    names: dict[int, list[str]] = {
        19: ["sseq", "scope", "from", "name", "text"],
        20: ["sseq", "online", "joined*", "left*"],
        21: ["sseq", "code", "text"],
        22: ["sseq", "url", "ticket", "within_ms"],
        23: ["sseq", "schema*", "hash"],
        24: ["code", "retry_after_ms", "text"],
        25: ["sseq", "entity", "name", "payload*"],
        26: ["sseq", "number", "code", "value*"],
        27: ["address", "number", "key_up", "key_down", "within_ms", "text"],
        29: ["code", "name", "stream", "title", "rate_hz", "behind_ms", "text"],
        30: ["sseq", "stream", "frame", "tick", "parts"],
        31: ["sseq", "stream", "tick", "move_ms", "entity", "eye", "look", "text"],
    }
    assert got["type"] == items[0]
    if items[0] == 16:
        fields = {f"{k}*" if k == "schema" and v is not None else k: v for k, v in items[1].items()}
    else:
        known = names[items[0]]
        fields = dict(zip(known, items[1 : 1 + len(known)], strict=True))  # what trails is not for this reader
    for name, value in fields.items():
        if name.endswith("*"):
            assert msgpack.unpackb(bytes.fromhex(got[name[:-1]])) == value, name
        elif isinstance(value, (str, bytes)):
            assert bytes.fromhex(got[name]) == (value.encode() if isinstance(value, str) else value), name
        else:
            assert got.get(name) == value, name


OTHERS = {"930a0101"}
"""DATAGRAMS for a carrier of web pages: an engine says none."""


@named([m for m in MESSAGES if m["from"] == "client" and m["hex"] not in OTHERS])
def test_messages_of_a_client(native: Native, vector: dict[str, str]) -> None:
    kind, *items = msgpack.unpackb(bytes.fromhex(vector["hex"]))
    if kind in (2, 3):  # frame and earlier are the view's: bring it to where it has these
        frame, earlier = items[1 if kind == 2 else 0], items[-1] if len(items) == (5 if kind == 2 else 3) else None
        welcomed(native, datagrams=int(earlier is not None))
        have = [frame - 1 - i for i in range(63, -1, -1) if (earlier or 0) >> i & 1] + [frame] * bool(frame)
        for each in have:
            native.take(msgpack.packb([18 if earlier is None else 28, 1, each % U32, 0, 0, None, None, None]))
    words: list[object]
    match kind:
        case 1:
            texts = [said(x.encode() if isinstance(x, str) else x) for x in items[2:]]
            words = ["hello", items[0], items[1], *texts]
        case 2:
            raw = items[3]
            words = ["input", items[0], items[2]]
            for at in range(0, len(raw), 8):
                x, z, pitch = (int.from_bytes(raw[at + k : at + k + 1], signed=True) for k in (0, 1, 4))
                words += [x, z, int.from_bytes(raw[at + 2 : at + 4], "little"), pitch, raw[at + 5], raw[at + 6]]
        case 3:
            words = ["ack", items[1]]
        case 4:
            words = ["chat", items[0], said(items[1].encode()), "-" if items[2] is None else items[2]]
        case 5:
            words = ["act", items[0], said(items[1].encode()), said(msgpack.packb(items[2]))]
        case 9:
            words = ["watch", said(None if items[0] is None else items[0].encode()), items[1]]
        case _:
            words = [{6: "bye", 10: "datagrams"}[kind]]
    assert native.ask(*words)["hex"] == vector["hex"]


@named(DATAGRAMS["sealed"])
def test_sealed_datagrams(native: Native, vector: dict[str, Any]) -> None:
    """What comes is read, also with parts of a later version; what a client says is written byte by byte."""
    peer = Link(native, vector)
    stream, lossy = b"", []
    for kind, data in ((kind, bytes.fromhex(data)) for kind, data in vector["parts"]):
        if kind == 1 and int.from_bytes(data[:4], "little") in (0, U32 - 1):
            stream += data[4 + (U32 - int.from_bytes(data[:4], "little")) % U32 :]
        elif kind == 2:
            lossy.append(data.hex())
    got = native.ask("read", said(bytes.fromhex(vector["hex"])), 0)
    assert (got["result"], got["read"]) == (DROPPED, 1)
    assert [m["hex"] for m in got["messages"][1:]] == messages_in(stream) + lossy
    assert native.ask("read", said(bytes.fromhex(vector["hex"])), 0)["read"] == 0  # twice
    kinds = [kind for kind, _ in vector["parts"]]
    if int(vector["sequence"]) < 1 << 40 and (3 in kinds or stream or lossy):
        peer = Link(native, vector, received=vector["received"], sequence=int(vector["sequence"]) - 1)
        if stream:
            assert native.ask("say", said(stream[4:]))["result"] == 1
        written = native.ask("write", said(bytes.fromhex(lossy[0]) if lossy else None), 0)
        assert (written["hex"], written["due"]) == (vector["hex"], 0)
        assert peer.opened(written["hex"]) == (vector["received"], [(k, bytes.fromhex(d)) for k, d in vector["parts"]])


def test_the_last_sequence_is_the_last(native: Native) -> None:
    Link(native, sequence=2**64 - 2)
    assert native.ask("write", "-", 0)["hex"] is not None
    assert native.ask("write", "-", 0)["hex"] is None


@named(DATAGRAMS["refused"])
def test_refused_datagrams(native: Native, vector: dict[str, str]) -> None:
    Link(native, DATAGRAMS["sealed"][0])
    got = native.ask("read", said(bytes.fromhex(vector["hex"])), 0)
    assert (got["read"], got["messages"]) == (0, [[]])
    assert native.ask("read", said(bytes.fromhex(DATAGRAMS["sealed"][0]["hex"])), 0)["read"] == 1


@named(DATAGRAMS["malformed"])
def test_malformed_plaintexts(native: Native, vector: dict[str, str]) -> None:
    peer = Link(native)
    got = native.ask("read", peer.sealed(bytes.fromhex(vector["hex"])), 0)
    assert (got["read"], got["messages"], got["received"]) == (0, [[]], 0)


@named(DATAGRAMS["replay"])
def test_replay_window(native: Native, vector: dict[str, Any]) -> None:
    peer = Link(native)
    steps = [(s, peer.sealed(bytes(4), int(s))) for s, _ in vector["steps"]]
    got = [[s, native.ask("read", datagram, 0)["read"] == 1] for s, datagram in steps]
    assert got == vector["steps"]


@named(DATAGRAMS["streams"])
def test_reliable_streams(native: Native, vector: dict[str, Any]) -> None:
    peer, received = Link(native), 0
    for step in vector["steps"]:
        got = peer.flow(step["offset"], bytes.fromhex(step["hex"]))
        if step["messages"] is None:  # beyond the window it is not used; what is too long ends the connection
            assert got["messages"] == [[]]
            assert got["result"] == FULL or got["received"] == received
        else:
            assert [m["hex"] for m in got["messages"][1:]] == step["messages"]
            assert (got["result"], got["received"]) == (DROPPED, step["received"])
            received = got["received"]


def test_a_view_that_is_too_small_says_so(native: Native) -> None:
    welcomed(native, numbers=2)
    first = FRAMES["stream"]["steps"][0]
    assert max(first["items"]["enter_number"]) == 2
    assert native.ask("take", first["hex"])["result"] == FULL


def test_what_a_later_version_adds_is_passed_over(native: Native) -> None:
    welcomed(native)
    assert native.take(msgpack.packb([21, 1, 3, "text", {"more": [1, -2, 3.5, b"x"]}, None]))["result"] == OK
    assert native.take(msgpack.packb([99, "what is this"]))["result"] == OK
    assert native.take(msgpack.packb([17, 2, 5, 1, [0, 0, 0], bytes(9) + b"more columns"]))["result"] == OK
    assert native.take(msgpack.packb([18, 1, 1, 5, 2, None, None, bytes(5) + b"more"]))["result"] == OK
    assert native.take(msgpack.packb([21, 3, 3]))["result"] == MALFORMED
    assert native.take(msgpack.packb([21, 2, 3, "text"]) + b"\0")["result"] == MALFORMED


def test_what_is_malformed_is_said_to_be(native: Native) -> None:
    """Each beside the same message as it should be, which is taken."""

    def entering(
        origin: Any = (1, 2, 3), blob: bytes = b"\x80", counts: bytes = b"\1\0" + bytes(6), pads: bytes = b"\0"
    ) -> bytes:
        columns = bytes(10) + b"\7\0" + b"\xff\x7f" * 3 + bytes(6) + len(blob).to_bytes(2, "little") + bytes(2) + blob
        return bytes(msgpack.packb([17, 1, 5, 1, origin, pads + counts + columns]))

    def told(kind: int, own: Any = None, origin: Any = (0, 0, 0), base: int = 1, cut: int = 0) -> bytes:
        columns = b"\1\0\1\0" + b"\0\0\1\0" + bytes(12 + 7) + (bytes([base]) if kind == 28 else b"") + bytes(2)
        return bytes(msgpack.packb([kind, 1, 1, 5, 0, own, origin, (b"\0" + columns)[: -cut or None]]))

    sound = [
        entering(),
        entering(pads=b"\2\0\0"),
        entering(origin=(2**31 - 32_768, 0, 32_768 - 2**31)),
        told(18),
        told(28),
    ]
    broken = [
        *(entering(blob=blob) for blob in (b"", b"\x80\0", b"\x81\1", b"\x90", b"\xc0")),
        *(entering(counts=counts) for counts in (b"\2\0" + bytes(6), b"\1\0\0\0\1\0\0\0", b"\xff" * 8)),
        *(
            entering(origin=origin)
            for origin in ((2**31 - 32_767, 0, 0), (0, 0, 32_767 - 2**31), (0, 0), (0, 0, 0.5), None)
        ),
        *(entering(pads=pads) for pads in (b"\xff", bytes([27]))),
        *(
            told(kind, **wrong)
            for kind in (18, 28)
            for wrong in ({"own": bytes(31)}, {"origin": None}, {"cut": 1}, {"cut": 40})
        ),
        told(28, base=0),
    ]
    for data in sound:
        welcomed(native, datagrams=int(data[1] == 28))
        assert native.take(data)["result"] in (OK, BROKEN)  # BROKEN: values of who has not entered
    for data in broken:
        welcomed(native, datagrams=int(data[1] == 28))
        assert native.take(data)["result"] == MALFORMED, data.hex()


def test_welcome_of_a_later_version_and_of_other_forms(native: Native) -> None:
    welcome = msgpack.unpackb(bytes.fromhex(WELCOME))[1]
    welcome |= {"radius_m": 7, "near_radius_m": -3, "anchor": None, "body": None, "more": {"a": [1, {"b": None}]}}
    native.ask("view", 4, 0)
    got = native.take(msgpack.packb([16, welcome], use_single_float=True))
    assert (got["result"], got["radius_m"], got["near_radius_m"]) == (OK, 7, -3)
    assert "body" not in got
    assert "anchor" not in got
    rate = bytes.fromhex(WELCOME).replace(b"\xa7rate_hz\x14", b"\xa7rate_hz\xca\x41\xa0\0\0")
    assert native.take(rate)["rate_hz"] == 20.0
    for key in ("session", "resume", "tick", "body", "stream"):
        less = {k: v for k, v in welcome.items() if k != key}
        assert native.take(msgpack.packb([16, less]))["result"] == MALFORMED, key


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 3_700])
def test_hello_with_long_texts(native: Native, size: int) -> None:
    got = native.ask("hello", 1, 1, said(b"t" * size), "-", said(b"vr"), said(b"r" * (size % 300)), "-", said(b"e"))
    expected = [1, 1, 1, "t" * size, None, "vr", b"r" * (size % 300), None, "e"]
    assert bytes.fromhex(got["hex"]) == msgpack.packb(expected)


def test_a_clients_message_that_is_not_allowed_is_not_written(native: Native) -> None:
    a_chat = native.ask("chat", 0, said(b"hi"), "-")["hex"]
    assert bytes.fromhex(a_chat) == msgpack.packb([4, 0, "hi", None])
    for words in (
        ["chat", 2, said(b"to nobody"), "-"],
        ["chat", 3, said(b"no scope"), "-"],
        ["act", 0, said(b"name"), "c0"],
        ["act", 1, said(b"n" * 65), "c0"],
        ["act", 1, said(b"name"), "c0c0"],
        ["act", 1, said(b"name"), "91"],
        ["input", 1, 1],
        ["input", 1, 1, 0, 0, 0, 0, 0, 31],
        ["input", 1, 1, *[0, 0, 0, 0, 0, 1] * 9],
        ["hello", 1, 1, said(b"t" * 4_090), "-", said(b"vr"), "-", "-", said(b"e")],
        ["hello", 1, 1, said(b"t" * 65_540), "-", said(b"vr"), "-", "-", said(b"e")],
        ["hello", 2, 1, "-", "-", said(b"vr"), "-", "-", said(b"e")],
    ):
        assert native.ask(*words)["hex"] is None, words


def test_readme_example_compiles_and_plays_the_vectors(tmp_path: Path) -> None:
    """With what an engine brings (a socket, a clock, a picture) taken by stand-ins that play and print."""
    example, over_udp = re.findall(r"```c\n(.*?)```", (SOURCES / "README.md").read_text(), re.DOTALL)
    (tmp_path / "example.c").write_text(example)
    (tmp_path / "over_udp.c").write_text(over_udp)
    compile_c([tmp_path / "over_udp.c"], tmp_path / "over_udp.o", "-c")
    stand_ins = Path(__file__).parent / "c" / "engine.c"
    compile_c([tmp_path / "example.c", stand_ins, SOURCES / "isthmus.c"], tmp_path / "example", *SANITIZERS)
    steps = FRAMES["stream"]["steps"]
    played = "\n".join([WELCOME, *(step["hex"] for step in steps)]) + "\n"
    done = subprocess.run([tmp_path / "example"], input=played, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    sent = re.findall(r"sent (\w+)", done.stdout)
    assert msgpack.unpackb(bytes.fromhex(sent[0]))[:3] == [1, 1, 1]
    assert msgpack.unpackb(bytes.fromhex(sent[-1]))[:2] == [3, steps[-1]["items"]["frame"]]
    assert [8] == [said_[0] for said_ in map(msgpack.unpackb, map(bytes.fromhex, sent)) if said_[0] not in (1, 3)]
    drawn = dict(re.findall(r"drawn (\d+) (.+)", done.stdout))
    last = steps[-1]["shown_after"]["0.0"]
    assert {entity: [float(x) for x in place.split()] for entity, place in drawn.items() if entity in last} == {
        entity: pytest.approx(place, abs=1e-5) for entity, place in last.items()
    }
