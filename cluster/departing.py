"""What the owner of a region asks the store when it gives the region away; ``moving`` says when.

Decides what is compared and written, and what an answer means. Invariants: the record is written under the revision at
which it was known to be ours; what is written back is what was read. Not responsible for: when anything is asked, and
what follows from it (``moving``).
"""

from collections.abc import Sequence

from cluster.asks import Answer, Ask, Asking, Failed
from cluster.asks import Read as ReadRecord
from cluster.member import MemberCore
from cluster.moving import Action, Moving, Outcome, Read, TakeBack, WriteOwner
from cluster.records import RecordError, RegionRecord, read, region_key, write
from cluster.store.contract import Put, Record, RevisionIs, Transaction, TransactionResult


class Departing:
    """Of one shard."""

    def __init__(self, member: MemberCore, moving: Moving) -> None:
        self._member, self._moving = member, moving
        self._asking: Asking[Action] = Asking()
        self._records: dict[int, tuple[RegionRecord, int]] = {}
        """Of regions whose move is being settled: the record as it was read last, with its revision."""

    def ask(self, action: WriteOwner | TakeBack | Read, now_s: float) -> tuple[Ask | None, Sequence[Action]]:
        """What to ask the store, or what follows because it is not worth asking."""
        region, key = action.region, region_key(action.region)
        if isinstance(action, Read):
            return self._asking.ask(ReadRecord(key), lambda answer, now_s: self._was_read(region, answer)), ()
        entry = self._member.book.regions.get(region)
        if isinstance(action, WriteOwner):
            target = self._member.book.members.get(action.owner)
            if target is None or target.lease != action.lease or entry is None:
                return None, self._moving.wrote(region, Outcome.NOT_DONE, now_s)
            record = RegionRecord(action.owner, action.lease, action.epoch, action.move)
            revision = entry.revision
        else:
            record, revision = self._records.pop(region)
        transaction = Transaction((RevisionIs(key, revision),), (Put(key, write(record)),))
        return self._asking.ask(transaction, lambda answer, now_s: self._was_written(region, answer, now_s)), ()

    def answered(self, number: int, answer: Answer, now_s: float) -> Sequence[Action]:
        """The store answered a question of this core."""
        return self._asking.answered(number, answer, now_s)

    def _was_read(self, region: int, answer: Answer) -> Sequence[Action]:
        me = self._member.name
        if not isinstance(answer, Record):
            return self._moving.read(region, None, 0, 0, me)
        try:
            record = read(answer.key, answer.value, RegionRecord)
        except RecordError:
            return self._moving.read(region, None, 0, 0, me)
        self._records[region] = record, answer.mod_revision
        return self._moving.read(region, record.owner, record.epoch, record.move, me)

    def _was_written(self, region: int, answer: Answer, now_s: float) -> Sequence[Action]:
        if isinstance(answer, TransactionResult):
            return self._moving.wrote(region, Outcome.DONE if answer.ok else Outcome.REFUSED, now_s)
        unknown = isinstance(answer, Failed) and answer.unknown
        return self._moving.wrote(region, Outcome.UNKNOWN if unknown else Outcome.NOT_DONE, now_s)
