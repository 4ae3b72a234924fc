"""Head and hands in a tick: taken in and judged in *ingest*, published with the region's delta.

Decides which messages count (of gateways that have seen this life of the region) and when a silent one's pose ends.
Invariants: a pose goes through the tick like every other change, and a hand-over takes it along as columns; nothing
about it is durable: a body that is restored has none until its client says the next. Not responsible for: bounds
(``kernels.judging``) and tolerances (``kernels.posing``), who is told (gateways).
"""

from collections.abc import Sequence

import numpy as np

from kernels.judging import judge
from kernels.posing import Posed, Said, Told, all_poses, renew_poses, told
from protocol.link import RegionDelta, Upward
from protocol.pose_layout import PARTS, SAMPLE, SAMPLES_MAX
from shard.state import ShardState

COUNTED = ("poses taken", "poses of a wrong row", "hands or heads out of reach", "hands or heads too fast")
"""What ``judge`` counts, as it is told with the region's other counts."""
END_S = 1.0
"""A headset that says nothing for so long was taken off, or its connection is lost: its hands are not shown on."""


def hear(state: ShardState, upward: Sequence[Upward]) -> None:
    """Take in what gateways said; a message whose columns contradict each other is left out."""
    heard = [
        message
        for message in upward
        if len(message.pose_row)
        and not 0 < message.epoch < state.links.born
        and len(message.pose_row) == len(message.pose_generation) == len(message.pose_count)
        and int(message.pose_count.sum(dtype=np.int64)) == len(message.pose_sample)
        and 1 <= int(message.pose_count.min()) <= int(message.pose_count.max()) <= SAMPLES_MAX
    ]
    if not heard:
        return
    samples = np.concatenate([message.pose_sample for message in heard]).reshape(-1).view(SAMPLE)
    count = len(samples)
    row = np.concatenate([message.pose_row for message in heard]).astype(np.int64)
    state.said = Said(
        row,
        np.concatenate([message.pose_generation for message in heard]),
        np.concatenate([message.pose_count for message in heard]),
        samples["back_ms"].copy(),
        samples["tracked"].copy(),
        samples["grip"].copy(),
        samples["p"].reshape(count, 3 * PARTS).copy(),
        samples["q"].copy(),
        np.zeros(len(row), np.uint8),
    )
    counted = np.zeros(len(COUNTED), np.int64)
    judge(
        state.said, state.table.generation, state.table.columns["o.attached"], posed(state), state.tick,
        state.config.rate_hz, counted,
    )  # fmt: skip
    for what, count in zip(COUNTED, counted.tolist(), strict=True):
        if count:
            state.links.counts[what] += count


def posed(state: ShardState) -> Posed:
    """The columns; valid until the table grows."""
    return Posed(*(state.table.columns[f"v.{name}"] for name in Posed._fields))


def tell(state: ShardState, delta: RegionDelta) -> None:
    """What is new of everybody's head and hands goes into ``delta``."""
    walkers = state.walkers()
    said = state.said
    if said is None:
        if not state.table.columns["v.tracked"][walkers, 0].any():
            return
        said = nothing_said()
    room = told(len(said.row) + len(walkers), len(said.back) + len(said.row) + len(walkers))
    end_ticks = round(END_S * state.config.rate_hz)
    table = state.table
    renew_poses(
        said, walkers, table.generation, table.ghost.view(np.uint8), posed(state), state.tick, end_ticks, room
    )  # fmt: skip
    _put(delta, room)


def tell_all(state: ShardState, delta: RegionDelta) -> None:
    """Everybody's head and hands, for a snapshot."""
    walkers = state.walkers()
    walkers = walkers[state.table.columns["w.version"][walkers] != 0]
    room = told(len(walkers), len(walkers))
    all_poses(walkers, posed(state), room)
    _put(delta, room)


def nothing_said() -> Said:
    """No messages."""
    none = np.zeros(0, np.uint8)
    return Said(
        np.zeros(0, np.int64), np.zeros(0, np.uint32), none, none, none, np.zeros((0, 2), np.uint8),
        np.zeros((0, 3 * PARTS), np.int16), np.zeros((0, PARTS), np.uint32), none,
    )  # fmt: skip


def _put(delta: RegionDelta, room: Told) -> None:
    rows, samples, mids = room.counts.tolist()
    delta.pose_row, delta.pose_flags, delta.pose_count = room.row[:rows], room.flags[:rows], room.samples[:rows]
    delta.pose_near_p, delta.pose_near_q = room.near_p[:samples], room.near_q[:samples]
    delta.pose_near_meta = room.near_meta[:samples]
    delta.pose_mid_head, delta.pose_mid_hand = room.mid_head[:mids], room.mid_hand[:mids]
