"""The decoder in C joins a real server: only what it writes is said, and its view is that of the Python client."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from protocol.frames import Frame
from protocol.messages import Chat
from tests.integration.server import Server, serving, write_world
from tests.integration.wire import Peer, now_ms, peer
from tests.vectors.native import OK, Native, compile_driver, said

DUCKS = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(write_world(tmp_path_factory.mktemp("native"), ducks=DUCKS)) as started:
        yield started


@pytest.fixture
def native(tmp_path: Path) -> Iterator[Native]:
    with Native(compile_driver(tmp_path)) as running:
        yield running


def say(one: Peer, native: Native, *words: object) -> None:
    one.say(bytes.fromhex(native.ask(*words)["hex"]))


async def test_joins_walks_talks_and_leaves(server: Server, native: Native) -> None:
    native.ask("view", 1024, 0, 0, 0)
    async with peer(server.port) as one:
        token, name = said(server.guest("Engine").encode()), said(b"Engine")
        say(one, native, "hello", 1, 1, token, name, said(b"vr"), "-", "-", said(b"test/1"))
        seq, frames, walked, moved, begun = 0, 0, 0, False, None
        while frames < 40 or not moved or not any(isinstance(each, Chat) for each in one.heard):
            data = await one.message()
            got, message = native.take(data), one.apply(data)
            assert got["result"] == OK
            if not isinstance(message, Frame):
                continue
            frames += 1
            shown = native.shown(message.tick + 0.5)
            ids, places = one.records.shown(message.tick + 0.5)
            assert set(shown) == {str(entity) for entity in ids.tolist()}
            for entity, place in zip(ids.tolist(), places, strict=True):
                np.testing.assert_allclose(shown[str(entity)][:3], place, atol=1e-9)
            if "own" in got:
                begun = got["own"]["p"] if begun is None else begun
                walked, moved = got["own"]["seq"], got["own"]["p"] != begun
            if frames == 5:
                say(one, native, "chat", 0, said("Hyvää päivää".encode()), "-")
            seq += 1
            say(one, native, "input", seq, now_ms(), 127, 0, 16384, 0, 0, 3)
        assert one.records.live.sum() >= DUCKS
        assert walked > 0
        assert [each.text for each in one.heard if isinstance(each, Chat)] == ["Hyvää päivää"]
        say(one, native, "bye")
        ended = await one.end()
        assert 1000 <= ended.code < 4300
