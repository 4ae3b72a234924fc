"""The library against protocol/vectors/datagrams.json, and the checker that knows only the standard."""

import json
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocol import datagrams, frames, messages, values
from protocol.codes import ProtocolViolation
from protocol.limits import STREAM_MESSAGE_BYTES_MAX
from tests.vectors import check_standard
from tests.vectors.generate_datagrams import ADDRESS, BIND, KEY_UP, NUMBER, PATH, SESSION, vectors

VECTORS: dict[str, Any] = json.loads(PATH.read_text())


def named(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", VECTORS[kind], ids=lambda v: str(v.get("name", v.get("kind"))))


def test_committed_vectors_are_what_the_library_writes() -> None:
    assert json.loads(json.dumps(vectors())) == VECTORS


@named("sealed")
def test_sealed_ones_open(vector: dict[str, Any]) -> None:
    bind = datagrams.binding(int(vector["session"]), vector["number"], vector["address"])
    assert bind.hex() == vector["binding"]
    key, data = ChaCha20Poly1305(bytes.fromhex(vector["key"])), bytes.fromhex(vector["hex"])
    opened = datagrams.open_sealed(key, vector["number"], bind, data)
    assert opened is not None
    sequence, plain = opened
    assert sequence == int(vector["sequence"])
    received, parts = datagrams.parts(plain)
    assert received == vector["received"]
    assert [[kind, part.hex()] for kind, part in parts] == [part for part in vector["parts"] if part[0] <= 3]


@named("refused")
def test_refused_ones_do_not(vector: dict[str, str]) -> None:
    assert datagrams.binding(SESSION, NUMBER, ADDRESS) == BIND
    data = bytes.fromhex(vector["hex"])
    assert datagrams.open_sealed(ChaCha20Poly1305(KEY_UP), NUMBER, BIND, data) is None


@named("malformed")
def test_malformed_plaintexts_are_violations(vector: dict[str, str]) -> None:
    with pytest.raises(ProtocolViolation):
        datagrams.parts(bytes.fromhex(vector["hex"]))


@named("replay")
def test_replay_window(vector: dict[str, Any]) -> None:
    window = datagrams.ReplayWindow()
    assert [[s, window.admit(int(s))] for s, _ in vector["steps"]] == vector["steps"]


@named("streams")
def test_streams(vector: dict[str, Any]) -> None:
    stream = datagrams.StreamIn(STREAM_MESSAGE_BYTES_MAX)
    for step in vector["steps"]:
        data = bytes.fromhex(step["hex"])
        if step["messages"] is None:
            with pytest.raises(ProtocolViolation):
                stream.take(step["offset"], data)
        else:
            assert [each.hex() for each in stream.take(step["offset"], data)] == step["messages"]
            assert stream.received == step["received"]


def test_values_show_the_same() -> None:
    records = values.ValueRecords()
    for step in VECTORS["values"]:
        data = bytes.fromhex(step["hex"])
        structure = frames.decode(data)
        if isinstance(structure, frames.Structure):
            records.apply_structure(structure)
            records.release()
        else:
            message = values.decode(data)
            assert message is not None
            assert values.encode(message) == data
            assert records.heard(message) == step["came"]
        assert (records.arrivals.newest, str(records.arrivals.earlier)) == (step["frame"], step["earlier"])
        ids, places = records.shown(step["shown_at"])
        assert {str(i) for i in ids.tolist()} == set(step["shown"])
        for entity, place in zip(ids.tolist(), places, strict=True):
            np.testing.assert_allclose(place, step["shown"][str(entity)], atol=1e-9)


@named("messages")
def test_messages_decode(vector: dict[str, str]) -> None:
    data = bytes.fromhex(vector["hex"])
    decode: Any = messages.decode_client if vector["from"] == "client" else messages.decode_server
    encode: Any = messages.encode_client if vector["from"] == "client" else messages.encode_server
    message = decode(data)
    assert type(message).__name__ == vector["kind"]
    assert encode(message) == data


def test_checker_reads_all_by_the_standard_alone() -> None:
    assert check_standard.check_datagrams() == sum(map(len, VECTORS.values()))
