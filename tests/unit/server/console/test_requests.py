"""What an operator may ask, and what is no request."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.console.requests import (
    BadRequest,
    BanSession,
    ChangeProfile,
    KickSession,
    MoveRegion,
    SayToAll,
    as_written,
    read_request,
)


def test_requests_are_read_cleaned_and_written_down() -> None:
    assert read_request(b'{"do":"move","region":16,"to":"shard-1"}') == MoveRegion(16, "shard-1")
    kick = read_request(b'{"do":"kick","session":"181604184430540","reason":" too\\n  rude\\u202e "}')
    assert kick == KickSession("181604184430540", "too rude")
    assert as_written(kick) == {"do": "kick", "session": "181604184430540", "reason": "too rude"}
    assert read_request(b'{"do":"ban","session":"1","hours":24}') == BanSession("1", 24.0, "")
    assert read_request(b'{"do":"broadcast","text":"soon"}') == SayToAll("soon")
    change = read_request(b'{"do":"profile","profile":"device","values":{"bytes_per_s":4000}}')
    assert change == ChangeProfile("device", {"bytes_per_s": 4000.0})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"do":"explode"}',
        b'{"do":"move","region":0,"to":"shard-1"}',
        b'{"do":"move","region":16,"to":""}',
        b'{"do":"move","region":16,"to":"s","more":1}',
        b'{"do":"kick","session":5}',
        b'{"do":"kick","session":"x"}',
        b'{"do":"ban","session":"5","hours":-1}',
        b'{"do":"ban","session":"5","hours":1e9}',
        b'{"do":"unban","key":"zz"}',
        b'{"do":"broadcast","text":" \\n "}',
        b'{"do":"broadcast","text":"' + b"x" * 501 + b'"}',
        b'{"do":"profile","profile":"device","values":{"bytes_per_s":"x"}}',
    ],
)
def test_what_is_no_request_says_what_to_mend(data: bytes) -> None:
    with pytest.raises(BadRequest, match="not done"):
        read_request(data)


OBJECTS = st.dictionaries(st.text(max_size=8), st.integers() | st.text())


@given(st.binary(max_size=100) | OBJECTS.map(msgspec.json.encode))
def test_nothing_else_ever_comes_of_bytes(data: bytes) -> None:
    with pytest.raises(BadRequest):
        read_request(data)
