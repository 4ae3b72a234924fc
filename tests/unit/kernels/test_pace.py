"""What is kept for a view between its frames."""

import numpy as np

from kernels.layout import FRAME_RING, SLOT, VIEW, ViewState
from kernels.pace import take_owns
from protocol.layouts import OWN_MOVED, OWN_ON_GROUND


def _tell(state: ViewState, seq: int, flags: int) -> None:
    one = np.ones(1, np.uint32)
    take_owns(
        np.zeros(1, np.int64), one * 7, one * seq, np.zeros(1, np.uint8), np.full(1, flags, np.uint8),
        np.zeros((1, 3), np.int32), np.zeros((1, 3), np.int32), np.zeros(1, np.int32), state,
    )  # fmt: skip


def test_that_something_else_moved_the_body_is_told_even_if_a_newer_state_comes_first() -> None:
    state = ViewState(
        np.zeros(1, VIEW),
        np.zeros((1, 4), SLOT),
        np.zeros((1, FRAME_RING), np.int64),
        np.zeros((1, FRAME_RING), np.int64),
    )
    state.views["body_serial"] = 7
    _tell(state, 1, OWN_ON_GROUND | OWN_MOVED)
    _tell(state, 2, OWN_ON_GROUND)
    assert (int(state.views["own_seq"][0]), int(state.views["own_flags"][0])) == (2, OWN_ON_GROUND | OWN_MOVED)
    state.views["own_due"] = 0  # a frame told it
    _tell(state, 3, OWN_ON_GROUND)
    assert int(state.views["own_flags"][0]) == OWN_ON_GROUND
