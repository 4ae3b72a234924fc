"""What a shard tells its operators of its regions: one entry whenever it begins or ceases to step one.

Decides what the entries are called. Invariants: this process steps a region only after ``region_begun`` (empty: a new
world's, or its owner died), ``region_moved_in`` or ``region_kept`` (its move came to nothing), and not after
``region_frozen`` (its move has begun) or ``region_lost``; ``region_moved_out`` and ``region_renewed`` (the epoch alone)
tell what became of it. ``region_split`` and ``region_merged``: those ``now`` are stepped in the place of ``former``;
the process did nothing else for ``pause_ms``. ``at_s`` is the machine's monotonic clock: entries of all processes of a
machine can be put in order. Not responsible for: who owns what (``cluster``).
"""

import time
from collections.abc import Callable, Mapping, Sequence, Set

import structlog

_log = structlog.get_logger(__name__)


class RegionLog:
    """``look`` after whatever may have changed something, before the process says anything to others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._epochs: dict[int, int] = {}
        """Of regions that are here and were stepped here."""
        self._resting: set[int] = set()
        """Those of them that are not stepped now."""
        self._coming: set[int] = set()
        self._lost: set[int] = set()
        self._began_s = 0.0

    def lost(self, region: int) -> None:
        """A region is about to be dropped because it is another's, or the lease is over."""
        self._lost.add(region)

    def change(self, former: Sequence[int], now: Mapping[int, int], is_done: bool) -> None:
        """Regions are about to be split or merged in this process, or were (``is_done``)."""
        if not is_done:
            self._began_s = self._clock()
            return
        for region in former:
            self._epochs.pop(region, None)
        self._epochs |= now
        at_s = self._clock()
        _log.info(
            "region_split" if len(now) > 1 else "region_merged",
            former=list(former), now=sorted(now), epoch=max(now.values()), at_s=round(at_s, 6),
            pause_ms=round(1000 * (at_s - self._began_s), 1),
        )  # fmt: skip

    def look(self, epochs: Mapping[int, int], frozen: Set[int]) -> None:
        """Compare with last time. ``epochs``: of all regions that are here; ``frozen``: those that are not stepped."""
        if epochs == self._epochs and frozen == self._resting and not self._coming:
            return
        for region in self._epochs.keys() - epochs.keys():
            moved = region in self._resting and region not in self._lost
            self._say("region_moved_out" if moved else "region_lost", region, self._epochs.pop(region))
            self._resting.discard(region)
        self._coming &= epochs.keys()
        for region, epoch in epochs.items():
            if region in frozen:
                self._freeze(region)
            else:
                self._step(region, epoch)
        self._lost.clear()

    def _freeze(self, region: int) -> None:
        if region not in self._epochs:
            self._coming.add(region)
        elif region not in self._resting:
            self._resting.add(region)
            self._say("region_frozen", region, self._epochs[region])

    def _step(self, region: int, epoch: int) -> None:
        before = self._epochs.get(region)
        self._epochs[region] = epoch
        if before is None:
            self._say("region_moved_in" if region in self._coming else "region_begun", region, epoch)
            self._coming.discard(region)
        elif region in self._resting:
            self._resting.discard(region)
            self._say("region_kept", region, epoch)
        elif before != epoch:
            self._say("region_renewed", region, epoch)

    def _say(self, event: str, region: int, epoch: int) -> None:
        _log.info(event, region=region, epoch=epoch, at_s=round(self._clock(), 6))
