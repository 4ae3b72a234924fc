"""What each message of a watch means, without a server."""

import msgspec
import pytest

from cluster.store import etcd_wire as wire
from cluster.store.contract import Change, Record, Relisted, WatchBatch
from cluster.store.etcd_watch import HistoryGone, Relist, WatchState
from cluster.store.etcd_wire import EtcdProblem, ProblemKind

CLUSTER = 77


def state_at(revision: int) -> WatchState:
    state = WatchState(b"/n/", b"/n/w/", None)
    assert state.told is None
    state.relisted(Relist(Relisted(revision, ()), CLUSTER))
    return state


def event(key: str, mod_revision: int, *, deleted: bool = False) -> wire.Event:
    kv = wire.KeyValue(f"/n/{key}".encode(), b"v", mod_revision, mod_revision)
    return wire.Event(kv, "DELETE" if deleted else "PUT")


def answer(revision: int, *events: wire.Event, cluster_id: int = CLUSTER, **fields: object) -> wire.WatchAnswer:
    answer = wire.WatchAnswer(wire.Header(cluster_id, revision), events=list(events))
    for name, value in fields.items():
        setattr(answer, name, value)
    return answer


def start_revision(state: WatchState) -> int:
    return int(msgspec.json.decode(state.request())["create_request"]["start_revision"])


def test_one_batch_for_each_revision() -> None:
    state = state_at(5)
    batches = state.receive(answer(9, event("w/a", 6), event("w/b", 6, deleted=True), event("w/a", 8)))
    assert batches == [
        WatchBatch(6, (Change("w/a", Record("w/a", b"v", 6, 6)), Change("w/b", None))),
        WatchBatch(8, (Change("w/a", Record("w/a", b"v", 8, 8)),)),
    ]
    assert state.told == 8


def test_it_resumes_at_what_was_told_and_drops_what_comes_twice() -> None:
    state = state_at(5)
    state.receive(answer(6, event("w/a", 6)))
    assert start_revision(state) == 6
    batches = state.receive(answer(9, event("w/a", 4), event("w/a", 6), event("w/a", 7)))
    assert [batch.revision for batch in batches] == [7]
    assert start_revision(WatchState(b"/n/", b"/n/w/", 1)) == 1
    assert start_revision(WatchState(b"/n/", b"/n/w/", 8)) == 7


def test_the_header_of_created_says_nothing_about_what_was_told() -> None:
    state = state_at(5)
    assert state.receive(answer(900, created=True)) == []
    assert state.told == 5
    state.receive(answer(901, event("w/a", 6)))
    assert state.told == 6


def test_news_of_progress_moves_it_forward_only() -> None:
    state = state_at(5)
    state.receive(answer(40))
    assert state.told == 40
    state.receive(answer(30))
    assert state.told == 40


def test_lost_history_begins_anew() -> None:
    for lost in (
        answer(90, compact_revision=50, canceled=True),
        answer(90, created=True, cluster_id=CLUSTER + 1),
    ):
        state = state_at(5)
        with pytest.raises(HistoryGone):
            state.receive(lost)
        assert state.told is None


def test_a_store_that_was_put_back_is_noticed() -> None:
    state = state_at(50)
    created = answer(20, created=True)
    assert state.behind(created)
    assert not state.behind(answer(20))  # progress of a member that lags
    state.check_reached(50)  # it had only not heard yet
    with pytest.raises(HistoryGone):
        state.check_reached(20)
    assert state.told is None


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("rpc error: code = PermissionDenied desc = etcdserver: permission denied", ProblemKind.TOKEN),
        ("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token", ProblemKind.TOKEN),
        ("etcdserver: no leader", ProblemKind.NOT_NOW),
        ("", ProblemKind.UNCERTAIN),
    ],
)
def test_a_watch_that_etcd_ends(reason: str, kind: ProblemKind) -> None:
    state = state_at(5)
    with pytest.raises(EtcdProblem) as caught:
        state.receive(answer(9, created=True, canceled=True, cancel_reason=reason))
    assert caught.value.kind is kind
    assert state.told == 5
