"""The rehearsal before the doors open: somebody is seen in it, or it says that it was for nothing."""

import pytest

from isthmus.rehearsal import rehearse_world
from server.core.gateway import GatewayCore


def test_a_rehearsal_shows_people_and_their_hands() -> None:
    rehearse_world()


def test_a_rehearsal_in_which_nobody_comes_in_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GatewayCore, "said", lambda *_: None)
    with pytest.raises(RuntimeError, match="did not show anybody"):
        rehearse_world()
