"""The library against protocol/vectors/crowd.json, and a reader that knows only STANDARD.md §12."""

import json

from protocol.crowds import decode
from tests.vectors.check_standard import Columns, message
from tests.vectors.generate_crowds import PATH, messages

VECTORS = json.loads(PATH.read_text())


def test_committed_vectors_are_what_the_library_writes_and_reads() -> None:
    assert json.loads(json.dumps(messages())) == VECTORS
    for vector in VECTORS:
        crowd = decode(bytes.fromhex(vector["hex"]))
        assert crowd is not None
        assert (crowd.stream, crowd.tick, crowd.side_m) == (vector["stream"], vector["tick"], vector["side_m"])
        assert crowd.total == sum(cell[2] for cell in vector["cells"])


def test_the_standard_alone_says_the_same() -> None:
    for vector in VECTORS:
        data = bytes.fromhex(vector["hex"])
        kind, stream, tick, block = message(data)
        columns = Columns(block, data, 2)
        cells, side_m = columns.take("H", 2)
        rows = list(zip(*(columns.take(code, cells) for code in "hhHhh"), strict=True))
        assert (kind, stream, tick, side_m) == (33, vector["stream"], vector["tick"], vector["side_m"])
        assert [list(row) for row in rows] == vector["cells"]
        assert columns.at == len(block)
