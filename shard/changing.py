"""The regions of one shard that are split and merged: what their owner's state machine (``cluster.reshaping``) wants,
done to the regions, and what it has to know of them.

Decides when a region and its neighbours count as holding still: as the neighbours are now, not as they were when they
promised. Not responsible for: what the machine does when, filling the new regions (``shard.reshape``), whether a region
is stepped here at all (``shard.process``).
"""

from collections.abc import Callable, Mapping, Sequence

from cluster.asks import Answer, Ask
from cluster.member import MemberCore
from cluster.partition import Partition
from cluster.regions import quarters
from cluster.reshaping import Action, Hold, Prepare, Release, Reshaping
from protocol.moving import Merge, Split
from shard.border.links import Square
from shard.core import ShardCore


class Changing:
    """``square(region)``: where it is. What is returned is to be asked of the store; answer with :meth:`answered`."""

    def __init__(self, core: ShardCore, member: MemberCore, square: Callable[[int], Square]) -> None:
        self.machine = Reshaping()
        self._core, self._member, self._square = core, member, square

    def is_changing(self, region: int) -> bool:
        """Whether a region is about to be split or merged: it is not moved meanwhile."""
        return self.machine.is_changing(region)

    def asked(
        self, word: Split | Merge, owned: Mapping[int, int], is_running: Callable[[int], bool], now_s: float
    ) -> list[Ask]:
        """The placer asks for a split or merge; nothing if it is too late for it."""
        epochs = {word.region: word.epoch} if isinstance(word, Split) else word.epochs
        if any(owned.get(region) != epoch or not is_running(region) for region, epoch in epochs.items()):
            return []
        if isinstance(word, Split):
            return self._do(self.machine.split(word.region, now_s))
        return self._do(self.machine.merge(word.region, now_s)) if sorted(epochs) == quarters(word.region) else []

    def answered(self, number: int, answer: Answer, now_s: float) -> list[Ask]:
        """The store answered."""
        return self._do(self.machine.answered(number, answer, now_s))

    def ended(self, regions: Sequence[int], *, done: bool) -> list[Ask]:
        """Some regions were split or merged (``done``), or lost."""
        return self._do(self.machine.ended(regions, done=done))

    def tick(self, partition: Partition, now_s: float) -> list[Ask]:
        """Time passed."""
        return self._do(self.machine.tick(self._member, partition, self._core.is_prepared, self._is_still, now_s))

    def _do(self, actions: Sequence[Action]) -> list[Ask]:
        asks: list[Ask] = []
        for action in actions:
            match action:
                case Ask():
                    asks.append(action)
                case Prepare():
                    self._core.prepare(action.former, {region: self._square(region) for region in action.now})
                case Hold():
                    self._hold(action.regions, action.number)
                case Release():
                    self._core.prepare(action.regions, None)
                    self._hold(action.regions, 0)
        return asks

    def _hold(self, regions: Sequence[int], number: int) -> None:
        for region in regions:
            if region in self._core.regions:
                self._core.regions[region].hold(number)

    def _is_still(self, region: int) -> bool:
        """Whether nothing is under way between a region and its neighbours, as they are now."""
        core, regions = self._core.regions.get(region), self._member.book.regions
        if core is None or region in self._core.frozen or not core.is_still:
            return False
        return all(n in regions and regions[n].record.epoch == epoch for n, epoch in core.neighbours.items())
