"""The library against protocol/vectors/frames.json, and the checker that knows only the standard."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from protocol import crowds, frames, messages
from tests.vectors import check_standard
from tests.vectors.generate_frames import PATH, columns, vectors

VECTORS: dict[str, Any] = json.loads(PATH.read_text())


def test_committed_vectors_are_what_the_library_writes() -> None:
    assert json.loads(json.dumps(vectors())) == VECTORS


def test_stream_decodes_and_shows_the_same() -> None:
    records = frames.Records()
    for step in VECTORS["stream"]["steps"]:
        message = frames.decode(bytes.fromhex(step["hex"]))
        if isinstance(message, frames.Structure):
            records.apply_structure(message)
        else:
            assert isinstance(message, frames.Frame)
            records.apply_frame(message)
        for ahead, expected in step["shown_after"].items():
            ids, places = records.shown(message.tick + float(ahead))
            assert {str(i) for i in ids.tolist()} == set(expected)
            for entity, place in zip(ids.tolist(), places, strict=True):
                np.testing.assert_allclose(place, expected[str(entity)], atol=1e-9)


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda v: str(v["kind"]))
def test_messages_decode(vector: dict[str, str]) -> None:
    data = bytes.fromhex(vector["hex"])
    decode: Any = messages.decode_client if vector["from"] == "client" else messages.decode_server
    encode: Any = messages.encode_client if vector["from"] == "client" else messages.encode_server
    message = decode(data)
    assert type(message).__name__ == vector["kind"]
    assert encode(message) == data


def test_crowds_decode() -> None:
    for vector in VECTORS["crowds"]:
        crowd = crowds.decode(bytes.fromhex(vector["hex"]))
        assert crowd is not None
        assert columns(crowd) == vector["items"]
        assert crowds.encode(crowd).hex() == vector["hex"]


def test_checker_reads_all_by_the_standard_alone() -> None:
    assert check_standard.check() == sum(map(len, (VECTORS["stream"]["steps"], VECTORS["messages"], VECTORS["crowds"])))


def test_checker_imports_nothing_of_ours() -> None:
    code = (
        "import sys, runpy; runpy.run_path(sys.argv[1]); "
        "assert not {'protocol', 'client', 'server', 'numpy', 'msgpack'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, check_standard.__file__], check=True)
