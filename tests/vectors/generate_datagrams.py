"""Makes protocol/vectors/datagrams.json anew: `python -m tests.vectors.generate_datagrams`.

The file is the reference of STANDARD.md §9 once it is committed; make it anew only together with a change of that
chapter. Whole numbers of 64 bits are written as texts, because JavaScript's numbers do not hold them.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocol import datagrams as d
from protocol import messages as m
from protocol import values
from protocol.codes import ProtocolViolation
from protocol.frames import Structure, encode_structure
from protocol.layouts import OWN
from protocol.limits import STREAM_MESSAGE_BYTES_MAX
from protocol.messages import pack
from protocol.values import ValueRecords, Values
from tests.vectors.generate_frames import columns

PATH = Path(__file__).parents[2] / "protocol" / "vectors" / "datagrams.json"
KEY_UP = bytes(range(32))
KEY_DOWN = bytes(range(32, 64))
SESSION, NUMBER, ADDRESS = 2**63 + 7, 0x01020304, "wörld.example:8081"
URL = "https://world.example:8443/datagrams"
BIND = d.binding(SESSION, NUMBER, ADDRESS)


def _sealed(name: str, key: bytes, sequence: int, received: int, parts: list[tuple[int, bytes]]) -> dict[str, Any]:
    data = d.seal(ChaCha20Poly1305(key), NUMBER, sequence, BIND, d.plaintext(received, parts))
    said = [[kind, part.hex()] for kind, part in parts]
    return {
        "name": name,
        "key": key.hex(),
        "session": str(SESSION),
        "number": NUMBER,
        "address": ADDRESS,
        "binding": BIND.hex(),
        "sequence": str(sequence),
        "received": received,
        "parts": said,
        "hex": data.hex(),
    }


def sealed_vectors() -> list[dict[str, Any]]:
    """Datagrams that open."""
    hello = m.encode_client(m.Hello(1, 1, None, "Åsa", "desktop", b"ticket", None, "test/1"))
    said = len(hello).to_bytes(4, "little") + hello
    ack = m.encode_client(m.Ack(70, 12, 2**64 - 1))
    full = d.stream_part(2**32 - 1, bytes(d.STREAM_BYTES_MAX))
    return [
        _sealed("the first of a client: HELLO in its stream", KEY_UP, 1, 0, [d.stream_part(0, said)]),
        _sealed("an opening", KEY_UP, 2, 0, [(d.KIND_OPENING, b"")]),
        _sealed("nothing but what was received", KEY_UP, 3, 2**32 - 1, []),
        _sealed("a message that may be lost", KEY_UP, 256, 5, [(d.KIND_MESSAGE, ack)]),
        _sealed("some parts", KEY_DOWN, 2**40, 5, [d.stream_part(7, b"abc"), (d.KIND_MESSAGE, ack)]),
        _sealed("an unknown kind", KEY_DOWN, 2**63, 5, [(200, b"of a later version"), (d.KIND_MESSAGE, ack)]),
        _sealed("the longest, with the last sequence", KEY_DOWN, 2**64 - 1, 5, [full]),
    ]


def refused_vectors() -> list[dict[str, Any]]:
    """Datagrams that are dropped without an answer by who has ``KEY_UP`` for ``NUMBER``."""
    good = sealed_vectors()[0]
    data = bytes.fromhex(good["hex"])
    plain = d.plaintext(0, [(d.KIND_OPENING, b"")])
    key = ChaCha20Poly1305(KEY_UP)

    def other(at: int, size: int = 1) -> bytes:
        return data[:at] + bytes(byte ^ 1 for byte in data[at : at + size]) + data[at + size :]

    head = data[:5] + (9).to_bytes(8, "little")
    long = bytes(d.PLAIN_BYTES_MAX + 1)
    cases = {
        "another version": other(0),
        "another number": other(1),
        "another sequence": other(5),
        "changed within": other(20),
        "another tag": other(len(data) - 1),
        "cut": data[:-1],
        "a byte too many": data + b"\0",
        "nothing but a header": data[:13],
        "nothing": b"",
        "too long": head + key.encrypt(d.nonce(9), long, head + BIND),
        "the key of the other direction": d.seal(ChaCha20Poly1305(KEY_DOWN), NUMBER, 9, BIND, plain),
        "bound to another session": d.seal(key, NUMBER, 9, d.binding(SESSION + 1, NUMBER, ADDRESS), plain),
        "bound to another number": d.seal(key, NUMBER, 9, d.binding(SESSION, NUMBER + 1, ADDRESS), plain),
        "bound to another address": d.seal(key, NUMBER, 9, d.binding(SESSION, NUMBER, "world.example:8081"), plain),
        "bound to nothing": head + key.encrypt(d.nonce(9), plain, head),
        "a nonce of the other byte order": head + key.encrypt(bytes(4) + (9).to_bytes(8, "big"), plain, head + BIND),
    }
    return [{"name": name, "hex": each.hex()} for name, each in cases.items()]


def malformed_vectors() -> list[dict[str, str]]:
    """Plaintexts that break the standard."""
    cases = {
        "shorter than received": b"\0\0\0",
        "a head that is cut": bytes(4) + b"\x02\x00",
        "a part that is cut": bytes(4) + b"\x02\x03\x00ab",
        "an unknown kind that is cut": bytes(4) + b"\xc8\x03\x00ab",
        "a stream part without an offset": bytes(4) + b"\x01\x03\x00abc",
    }
    return [{"name": name, "hex": each.hex()} for name, each in cases.items()]


def replay_vectors() -> list[dict[str, Any]]:
    """Sequences in the order in which they are decrypted, and whether each is taken; good for any window of 256 and
    more."""
    last = 2**64 - 1
    cases = {
        "in order, twice each": [(s, t) for s in range(1, 5) for t in (True, False)],
        "zero is none": [(0, False), (1, True), (0, False)],
        "out of order": [(3, True), (1, True), (2, True), (1, False), (3, False), (2, False), (4, True)],
        "the oldest that must be told apart": [(300, True), (45, True), (45, False), (300, False)],
        "far too old": [(2**40, True), (1, False), (2**40 - 255, True), (2**40 - 255, False)],
        "a leap over the window forgets it": [(1, True), (2**40, True), (1, False), (2**40 - 1, True), (2**40, False)],
        "the last ones: no sum overflows": [
            (last - 300, True), (last - 255, True), (last - 1, True), (last, True), (last, False), (last - 255, False),
            (last - 2, True), (1, False), (0, False), (last - 1, False),
        ],
        "from the first to the last": [(1, True), (last, True), (1, False), (2, False), (last - 1, True)],
    }  # fmt: skip
    return [{"name": name, "steps": [[str(s), taken] for s, taken in steps]} for name, steps in cases.items()]


def stream_vectors() -> list[dict[str, Any]]:
    """Parts of a client's stream in the order in which they come; ``messages`` is None where the standard is broken."""
    first, second = b"first", bytes(range(256)) * 3
    said = b"".join(len(each).to_bytes(4, "little") + each for each in (first, b"", second))
    large = (65_537).to_bytes(4, "little")
    cases: dict[str, list[tuple[int, bytes]]] = {
        "in order": [(0, said[:100]), (100, said[100:])],
        "byte by byte": [(i, said[i : i + 1]) for i in range(14)],
        "out of order, overlapping, twice": [
            (200, said[200:300]), (50, said[50:250]), (400, said[400:]), (0, said[:60]), (0, said[:60]),
            (290, said[290:401]), (10, said[10:700]),
        ],
        "to the end of the window, and beyond": [(65_530, bytes(6)), (65_531, bytes(6))],
        "a message that is too large": [(0, large)],
    }  # fmt: skip
    out = []
    for name, parts in cases.items():
        stream, steps = d.StreamIn(STREAM_MESSAGE_BYTES_MAX), []
        for offset, data in parts:
            step: dict[str, Any] = {"offset": offset, "hex": data.hex()}
            try:
                step["messages"] = [message.hex() for message in stream.take(offset, data)]
                step["received"] = stream.received
            except ProtocolViolation:
                step["messages"] = None
            steps.append(step)
        out.append({"name": name, "steps": steps})
    return out


def _structure(sseq: int, frame: int, tick: int, enter: dict[int, int], leave: tuple[int, ...] = ()) -> Structure:
    n = len(enter)
    return Structure(
        sseq,
        tick,
        frame,
        (-1280, 0, 64_000),
        enter_id=np.array(list(enter.values()), "<u8"),
        enter_number=np.array(list(enter), "<u2"),
        enter_kind=np.ones(n, "<u2"),
        enter_p=np.array([[100 * i, 12, -7 * i] for i in enter], "<i2").reshape(n, 3),
        enter_v=np.array([[160 - i, -3, -160] for i in enter], "<i2").reshape(n, 3),
        enter_age=np.arange(n, dtype="u1"),
        enter_yaw=np.arange(n, dtype="u1"),
        enter_blobs=[pack({1: "Åsa"})] * n,
        leave_number=np.array(leave, "<u2"),
    )


def _values(
    frame: int, tick: int, sseq: int, deltas: dict[int, int], fulls: tuple[int, ...] = (), own: bytes | None = None
) -> Values:
    """``deltas``: number → base."""
    k, f = len(deltas), len(fulls)
    return Values(
        1,
        frame,
        tick,
        sseq,
        own,
        (-1270, 4, 64_010) if f else None,
        delta_number=np.array(list(deltas), "<u2"),
        delta_d=np.array([[frame % 100, -i, 127] for i in range(k)], "i1").reshape(k, 3),
        delta_dv=np.array([[-7, i, -128] for i in range(k)], "i1").reshape(k, 3),
        delta_yaw=np.full(k, frame % 256, "u1"),
        delta_base=np.array(list(deltas.values()), "u1"),
        full_number=np.array(fulls, "<u2"),
        full_p=np.array([[9 * frame, 8, -i] for i in range(f)], "<i2").reshape(f, 3),
        full_v=np.array([[-frame, 1, 16 * i] for i in range(f)], "<i2").reshape(f, 3),
        full_age=np.full(f, 2, "u1"),
        full_yaw=np.full(f, 255, "u1"),
    )


def _told() -> list[Structure | Values]:
    """In the order in which they come to a client."""
    own = np.zeros(1, OWN)
    own["seq"], own["stamp"], own["hold_ms"], own["p"] = 7, 123456, 18, [[-1280, 0, 64_000]]
    late = _values(3, 102, 1, {1: 1, 0: 1}, (2,))
    return [
        _values(1, 100, 1, {}),  # waits for the first structure
        _structure(1, 1, 100, {0: 5, 1: 2**63 + 9, 2: 77}),
        _values(2, 101, 1, {}, (0, 1)),
        _values(4, 102, 1, {0: 2}, (2,), own.tobytes()),
        late,  # it changes what is shown of number 1 alone
        late,
        _values(6, 104, 2, {300: 1, 0: 2}),  # waits, for a base that waits as well
        _values(5, 103, 2, {0: 2}, (300,)),
        _structure(2, 5, 103, {300: 78}, (2,)),
        _structure(3, 8, 105, {1: 79}, (1,)),
        _values(7, 104, 2, {1: 4, 0: 2}),  # number 1 is another entity by now
        _values(8, 105, 3, {300: 2}, (0, 1)),
        _values(263, 370, 3, {0: 255}),  # the farthest base
        _values(100, 200, 3, {}, (0,)),  # too late to be acknowledged
        _values(264, 371, 3, {0: 1}),
    ]


def values_vector() -> list[dict[str, Any]]:
    """A stream with VALUES: what came, what is acknowledged then, and what is shown."""
    records, steps = ValueRecords(), []
    tick = 0
    for message in _told():
        step: dict[str, Any] = {"items": columns(message), "came": True}
        if isinstance(message, Structure):
            step |= {"kind": "structure", "hex": encode_structure(message).hex()}
            records.apply_structure(message)
            records.release()
        else:
            data = values.encode(message)
            step |= {"kind": "values", "hex": data.hex(), "came": records.heard(message)}
        tick = max(tick, message.tick)
        ids, places = records.shown(tick + 0.5)
        step["frame"], step["earlier"] = records.arrivals.newest, str(records.arrivals.earlier)
        step["shown_at"] = tick + 0.5
        step["shown"] = {str(i): p for i, p in zip(ids.tolist(), places.tolist(), strict=True)}
        steps.append(step)
    return steps


def message_vectors() -> list[dict[str, str]]:
    """Messages that only sessions over datagrams have."""
    commands = b"".join(bytes([*range(8 * k, 8 * k + 6), 1 + k, 0]) for k in range(8))
    said: list[m.ClientMessage] = [
        m.Input(2**32 - 1, 70_000, 12, commands, 2**63 + 1),
        m.Ack(3, 2**31, 0),
        m.AskDatagrams(1),
        m.AskDatagrams(1, m.CARRIER_WEBTRANSPORT),
    ]
    heard: list[m.ServerMessage] = [
        m.Token(ADDRESS, NUMBER, KEY_UP, KEY_DOWN, 10_000, ""),
        m.Token(None, 0, b"", b"", 0, "this connection is not over TLS"),
        m.Token(URL, NUMBER, KEY_UP, KEY_DOWN, 10_000, "", (bytes(range(32)), bytes(range(32, 64)))),
    ]
    out = [{"from": "client", "kind": type(x).__name__, "hex": m.encode_client(x).hex()} for x in said]
    return out + [{"from": "server", "kind": type(x).__name__, "hex": m.encode_server(x).hex()} for x in heard]


def vectors() -> dict[str, Any]:
    """The whole file."""
    return {
        "sealed": sealed_vectors(),
        "refused": refused_vectors(),
        "malformed": malformed_vectors(),
        "replay": replay_vectors(),
        "streams": stream_vectors(),
        "values": values_vector(),
        "messages": message_vectors(),
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(vectors(), indent=1) + "\n")
