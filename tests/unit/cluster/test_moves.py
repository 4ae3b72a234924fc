"""What counts as a move of a region, and how it is told apart from a loss."""

from cluster.book import Book
from cluster.moves import KEPT_MAX, How, Moves
from cluster.records import RegionRecord, region_key, write
from cluster.store.contract import Change, Record, Relisted, WatchBatch


class Told:
    """A book that is told of records, and the moves that follow."""

    def __init__(self) -> None:
        self.book, self.moves, self.revision = Book(), Moves(), 0

    def _record(self, region: int, owner: str, lease: int, epoch: int, move: int) -> Record:
        self.revision += 1
        value = write(RegionRecord(owner, lease, epoch, move))
        return Record(region_key(region), value, self.revision, self.revision, None)

    def put(self, region: int, owner: str, lease: int, epoch: int, move: int = 0) -> None:
        record = self._record(region, owner, lease, epoch, move)
        self.book.watched(WatchBatch(self.revision, (Change(record.key, record),)))
        self.moves.watched(self.book, float(self.revision))

    def list_anew(self, *records: tuple[int, str, int, int, int]) -> None:
        listed = tuple(self._record(*record) for record in records)
        self.book.watched(Relisted(self.revision, listed))
        self.moves.watched(self.book, float(self.revision))

    def seen(self) -> list[tuple[int, str, str, int, How]]:
        return [(m.region, m.source, m.target, m.epoch, m.how) for m in self.moves.recent]


def test_moves_by_plan_after_a_loss_and_back_are_told_apart_and_the_first_owner_is_no_move() -> None:
    told = Told()
    told.put(4, "a", 1, 1)
    assert told.seen() == []
    told.put(4, "b", 2, 2, move=77)
    told.put(4, "a", 1, 3)
    told.put(4, "a", 9, 4)
    assert told.seen() == [
        (4, "a", "b", 2, How.PLANNED), (4, "b", "a", 3, How.LOST), (4, "a", "a", 4, How.BACK)
    ]  # fmt: skip
    assert [moved.at_s for moved in told.moves.recent] == [2.0, 3.0, 4.0]
    assert told.moves.counts == {How.PLANNED: 1, How.LOST: 1, How.BACK: 1}


def test_a_move_is_told_once_and_an_older_epoch_never() -> None:
    told = Told()
    told.list_anew((4, "a", 1, 5, 0), (5, "a", 1, 1, 0))
    told.list_anew((4, "a", 1, 5, 0), (5, "b", 2, 2, 7))
    told.list_anew((4, "b", 2, 3, 7), (5, "b", 2, 2, 7))
    assert told.seen() == [(5, "a", "b", 2, How.PLANNED)]
    told.list_anew()
    told.list_anew((4, "b", 2, 6, 0), (5, "b", 2, 2, 7))
    assert told.seen()[1:] == [(4, "a", "b", 6, How.LOST)]


def test_the_same_owner_under_a_new_epoch_is_no_move() -> None:
    told = Told()
    told.put(4, "a", 1, 1)
    told.put(4, "a", 1, 2)
    told.put(4, "b", 2, 3)
    assert told.seen() == [(4, "a", "b", 3, How.LOST)]


def test_so_many_moves_are_kept_and_all_are_counted() -> None:
    told = Told()
    for epoch in range(1, KEPT_MAX + 12):
        told.put(4, f"s{epoch}", epoch, epoch, move=epoch)
    assert len(told.moves.recent) == KEPT_MAX
    assert told.moves.recent[-1].target == f"s{KEPT_MAX + 11}"
    assert told.moves.counts[How.PLANNED] == KEPT_MAX + 10
