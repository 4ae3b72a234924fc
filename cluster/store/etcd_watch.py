"""A watch over etcd's gateway that goes on through lost connections, dead members, compaction and restored stores.

``WatchState`` decides (pure); ``follow`` does the waiting.

Invariants: what was yielded covers every change of the prefix up to ``WatchState.told``, once, in order. That
revision moves by events and by news of progress, never by the header of ``created``: catching up comes after it.

Two of etcd's own mistakes are taken into account. A watch that begins exactly at the compacted revision may miss a
deletion made by it (etcd issue 19179, in all releases before 2025), so we ask from the last revision that we have and
drop what comes twice. A member that lags may send events older than asked for (issue 20221): dropped likewise.

Not responsible for: which endpoint (``etcd_http``), how a prefix is read (the caller's ``relist``).
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NamedTuple

from cluster.store import etcd_wire as wire
from cluster.store.contract import (
    Change,
    Record,
    Relisted,
    StoreClosed,
    StoreUnavailable,
    WatchBatch,
    WatchItem,
)
from cluster.store.etcd_http import EtcdHttp, Stream
from cluster.store.etcd_wire import EtcdProblem, Problem, ProblemKind


class Relist(NamedTuple):
    """A prefix read anew, and which cluster it came from."""

    item: Relisted
    cluster_id: int


class HistoryGone(Exception):
    """What was told does not lead to what is: compaction, another cluster, a store put back to an earlier state."""


class WatchState:
    """How far a watch is, and what the next message of etcd means for it."""

    def __init__(self, namespace: bytes, prefix: bytes, from_revision: int | None) -> None:
        """``prefix`` includes the namespace, which is taken off the keys."""
        self._namespace_bytes = len(namespace)
        self._prefix = prefix
        self.told: int | None = None if from_revision is None else from_revision - 1
        """Newest revision up to which everything was yielded; None: the prefix has to be read anew."""
        self._cluster_id: int | None = None

    def relisted(self, relist: Relist) -> None:
        """The prefix was read anew and yielded."""
        self.told = relist.item.revision
        self._cluster_id = relist.cluster_id

    def request(self) -> bytes:
        """What to send for going on after ``told`` (not None)."""
        return wire.encode_watch(self._prefix, max(self.told or 0, 1))

    def receive(self, answer: wire.WatchAnswer) -> list[WatchBatch]:
        """The batches that a message brings.

        Raises HistoryGone, or EtcdProblem if etcd ends the watch for another reason.
        """
        if answer.compact_revision or self._cluster_id not in (None, answer.header.cluster_id):
            raise self._gone()
        if answer.canceled:
            raise EtcdProblem(_judge_cancel(answer.cancel_reason))
        self._cluster_id = answer.header.cluster_id
        told = self.told or 0
        batches = self._batches(told, answer.events)
        if batches:
            told = batches[-1].revision
        elif not answer.created and not answer.events:
            told = max(told, answer.header.revision)  # news of progress
        self.told = told
        return batches

    def behind(self, answer: wire.WatchAnswer) -> bool:
        """Whether the member that answered has not reached ``told``: it lags, or the store lost what we were told."""
        return answer.created and answer.header.revision < (self.told or 0)

    def check_reached(self, revision: int) -> None:
        """Compare with the cluster's revision. Raises HistoryGone if the store has lost what was told."""
        if revision < (self.told or 0):
            raise self._gone()

    def _gone(self) -> HistoryGone:
        self.told = None
        return HistoryGone()

    def _batches(self, told: int, events: list[wire.Event]) -> list[WatchBatch]:
        by_revision: dict[int, list[Change]] = {}
        for event in events:
            if event.kv.mod_revision > told:
                by_revision.setdefault(event.kv.mod_revision, []).append(self._change(event))
        return [WatchBatch(revision, tuple(changes)) for revision, changes in by_revision.items()]

    def _change(self, event: wire.Event) -> Change:
        if event.type == "DELETE":
            return Change(event.kv.key[self._namespace_bytes :].decode(), None)
        record = to_record(event.kv, self._namespace_bytes)
        return Change(record.key, record)


def to_record(kv: wire.KeyValue, namespace_bytes: int) -> Record:
    """A record without the namespace before its key."""
    key = kv.key[namespace_bytes:].decode()
    return Record(key, kv.value, kv.create_revision, kv.mod_revision, kv.lease or None)


async def follow(
    http: EtcdHttp, state: WatchState, relist: Callable[[], Awaitable[Relist]], probe: bytes, silence_s: float
) -> AsyncGenerator[WatchItem, None]:
    """Yield a watch's items until the store is closed. Raises StoreRefused.

    ``probe``: body of a small linearizable read, sent to the stream's endpoint after each ``silence_s``: a member that
    is frozen or cut off from its cluster does not answer it.
    """
    failures = token_failures = 0
    while not http.closed:
        try:
            if state.told is None:
                fresh = await relist()
                state.relisted(fresh)
                yield fresh.item
            async with http.stream("/v3/watch", state.request()) as stream:
                messages = _Messages(http, stream, probe, silence_s)
                while True:
                    for answer in await messages.read():
                        if state.behind(answer):
                            state.check_reached(await messages.cluster_revision())
                        for batch in state.receive(answer):
                            yield batch
                        failures = token_failures = 0
        except StoreClosed:
            return
        except (HistoryGone, StoreUnavailable):
            pass  # the prefix is read anew; for the second, relist has asked all endpoints already
        except EtcdProblem as error:
            if error.kind is ProblemKind.TOKEN:
                token_failures += 1
                http.forget_token()
            if error.kind is not ProblemKind.TOKEN or token_failures > 1:
                http.refuse_if_final(error.problem)
        failures += 1
        if not await _pause(http, failures):
            return


class _Messages:
    """The messages of one stream, and the life of who sends them."""

    def __init__(self, http: EtcdHttp, stream: Stream, probe: bytes, silence_s: float) -> None:
        self._http = http
        self._stream = stream
        self._probe = probe
        self._silence_s = silence_s
        self._lines = wire.LineSplitter()

    async def read(self) -> list[wire.WatchAnswer]:
        """The next ones. Raises EtcdProblem if there will be none."""
        while True:
            data = await self._stream.read(self._silence_s)
            if data is None:
                await self.cluster_revision()
            elif answers := _answers(self._lines, data):
                return answers

    async def cluster_revision(self) -> int:
        """The cluster's revision, asked of the same member, which has reached it then."""
        answer = await self._http.call_at(self._stream.endpoint, "/v3/kv/range", self._probe)
        return wire.decode(wire.RANGE, answer.body).header.revision


async def _pause(http: EtcdHttp, failures: int) -> bool:
    """Whether the store is still open afterwards."""
    try:
        await http.pause(failures)
    except StoreClosed:
        return False
    return True


def _answers(lines: wire.LineSplitter, data: bytes) -> list[wire.WatchAnswer]:
    answers = []
    try:
        complete = lines.feed(data)
    except ValueError as error:
        raise EtcdProblem(Problem(ProblemKind.UNCERTAIN, str(error))) from error
    for line in complete:
        message = wire.decode(wire.WATCH, line)
        if message.error is not None:
            error_code = message.error.grpc_code or message.error.code
            raise EtcdProblem(wire.judge_error(error_code, message.error.message))
        if message.result is not None:
            answers.append(message.result)
    return answers


def _judge_cancel(reason: str) -> Problem:
    """Why etcd ended a watch; it says so in words only. Before 3.5 a bad token is "permission denied" too."""
    if "permission denied" in reason.lower() or "PermissionDenied" in reason:
        refused = wire.judge_error(wire.PERMISSION_DENIED, reason)
        return Problem(ProblemKind.TOKEN, refused.text)
    return wire.judge_error(0, reason or "the watch was ended without a reason")
