"""Keyframes: everything that the viewers of a channel hold, as messages for one who joins (STANDARD.md §10).

They are made of the records themselves, kept by the same rules as a client keeps them: who begins with a keyframe holds
afterwards, number for number, what all others hold, and the next delta means the same to all. Invariants: a message is
at most PART_BYTES long; its structure messages are numbered so that the last one has the stream's own number. Not
responsible for: when one is made (``channels``), who gets it (``audience``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from protocol.channels import Camera, Keyframe
from protocol.frames import Records, Structure, encode_structure
from protocol.layouts import AGE_MAX
from protocol.messages import U32_MAX, encode_server, pack

PART_BYTES = 16_000
"""What a carrier takes of one view in one tick, whatever waits there (``limits.FRAME_BYTES_MAX``), headers left out."""
_HEAD_BYTES = 128
_ENTER_BYTES = 32
_REACH = 32_767
Numbers = npt.NDArray[np.int64]


class KeyframeMessages(NamedTuple):
    """``messages`` in order; ``worn``: numbers whose records are too old to be said exactly, so that they must be
    renewed in full for everybody."""

    messages: list[bytes]
    worn: Numbers


def keyframe(records: Records, stream: int, tick: int, cameras: Sequence[Camera]) -> KeyframeMessages:
    """What ``records`` holds after its newest frame, and where the cameras look (their ``sseq`` is given here)."""
    live = np.flatnonzero(records.live)
    age = tick - records.record_tick[live]
    worn = live[(age > AGE_MAX) & (records.v[live] != 0).any(axis=1)]
    blobs = {number: pack(records.components[number]) for number in live.tolist()}
    groups = list(_groups(records, live, blobs))
    parts = len(groups) + len(cameras)
    first = (records.sseq - parts) & U32_MAX
    messages = [encode_server(Keyframe(stream, records.frame, tick, parts, first))]
    for k, camera in enumerate(cameras):
        messages.append(encode_server(replace(camera, sseq=(first + 1 + k) & U32_MAX)))
    for k, group in enumerate(groups):
        sseq = (first + 1 + len(cameras) + k) & U32_MAX
        messages.append(_structure(records, group, blobs, sseq, tick))
    return KeyframeMessages(messages, worn)


def _groups(records: Records, live: Numbers, blobs: dict[int, bytes]) -> Iterator[Numbers]:
    """Entities that fit one message, by bytes and by distance from a common origin."""
    group: list[int] = []
    size = _HEAD_BYTES
    for number in live.tolist():
        more = _ENTER_BYTES + len(blobs[number])
        if group and size + more > PART_BYTES:
            yield from _within_reach(records, np.array(group, np.int64))
            group, size = [], _HEAD_BYTES
        group.append(number)
        size += more
    if group:
        yield from _within_reach(records, np.array(group, np.int64))


def _within_reach(records: Records, group: Numbers) -> Iterator[Numbers]:
    p = records.p[group]
    spans = p.max(axis=0) - p.min(axis=0)
    if int(spans.max()) <= 2 * _REACH:
        yield group
        return
    order = group[np.argsort(p[:, int(np.argmax(spans))], kind="stable")]
    yield from _within_reach(records, order[: len(order) // 2])
    yield from _within_reach(records, order[len(order) // 2 :])


def _structure(records: Records, group: Numbers, blobs: dict[int, bytes], sseq: int, tick: int) -> bytes:
    p = records.p[group]
    middle = (p.min(axis=0) + p.max(axis=0)) // 2
    x, y, z = (int(value) for value in middle)
    return encode_structure(
        Structure(
            sseq,
            tick,
            records.frame,
            (x, y, z),
            enter_id=records.id[group].astype("<u8"),
            enter_number=group.astype("<u2"),
            enter_kind=records.kind[group].astype("<u2"),
            enter_p=(p - middle).astype("<i2"),
            enter_v=records.v[group].astype("<i2"),
            enter_age=np.minimum(tick - records.record_tick[group], AGE_MAX).astype("u1"),
            enter_yaw=records.yaw[group].astype("u1"),
            enter_blobs=[blobs[number] for number in group.tolist()],
        )
    )
