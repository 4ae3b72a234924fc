"""One writer for each region, judged by what the shards themselves have logged (``isthmus.fleet.region_log``).

Decides what counts: a shard writes a region from the entry that begins it to the entry that stops it; all clocks are
the machine's one. Not responsible for: what the store says of owners, which may change later than they do.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

BEGIN = {"region_begun", "region_moved_in", "region_kept"}
STOP = {"region_frozen", "region_lost"}
RENEW = "region_renewed"
NEVER_S = float("inf")


@dataclass(frozen=True, slots=True, order=True)
class Writing:
    """A shard stepped a region from ``begun_s`` until ``ended_s``, under ``epochs``, one after the other."""

    begun_s: float
    ended_s: float
    region: int
    shard: str
    epochs: tuple[int, ...]


def writings(shard: str, entries: Iterable[Mapping[str, object]]) -> Iterator[Writing]:
    """All that one shard has written, from its log. What it writes now ends never."""
    now: dict[int, Writing] = {}
    for entry in entries:
        event = entry["event"]
        if event not in BEGIN | STOP | {RENEW}:
            continue
        region, epoch, at_s = entry["region"], entry["epoch"], entry["at_s"]
        assert isinstance(region, int)
        assert isinstance(epoch, int)
        assert isinstance(at_s, float)
        before = now.pop(region, None)
        if event in BEGIN:
            assert before is None, f"{shard} begins region {region} twice"
            now[region] = Writing(at_s, NEVER_S, region, shard, (epoch,))
        elif event == RENEW:
            assert before is not None, f"{shard} renews region {region} and never began it"
            now[region] = Writing(before.begun_s, NEVER_S, region, shard, (*before.epochs, epoch))
        elif before is not None:  # a region that is lost while it is frozen had stopped before
            yield Writing(before.begun_s, at_s, region, shard, before.epochs)
    yield from now.values()


def entries(log: Path) -> list[dict[str, object]]:
    """What a process has logged; the last line may be on its way."""
    whole = log.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def one_writer(logs: Mapping[str, Path]) -> dict[int, list[Writing]]:
    """Who has written each region, in order. Fails if two shards wrote one at a time, or an epoch went back."""
    found: dict[int, list[Writing]] = {}
    for shard, log in logs.items():
        for writing in writings(shard, entries(log)):
            found.setdefault(writing.region, []).append(writing)
    for those in found.values():
        those.sort()
        for before, after in pairwise(those):
            assert before.ended_s <= after.begun_s, f"two writers: {before} and {after}"
            known, anew = before.epochs[-1], after.epochs[0]
            same = before.shard == after.shard  # a move that came to nothing goes on under its epoch
            assert known < anew or (same and known == anew), f"an epoch twice, or back: {before} and {after}"
        for writing in those:
            assert list(writing.epochs) == sorted(set(writing.epochs)), f"an epoch went back: {writing}"
    return found
