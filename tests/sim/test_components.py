"""Components on their way from the shard to clients, on networks without faults: changed keys only, everything for who
comes late, and a changed schema without a disconnect."""

import pytest

from protocol.frames import Structure, decode
from protocol.link import Upward
from protocol.messages import T_SCHEMA, Schema, decode_server, unpack
from shard.region import RegionStep
from tests.sim.checkers import check_components, check_visible
from tests.sim.cluster import Cluster
from tests.sim.network import Faults
from tests.sim.people import Person

PEOPLE = 2


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(5, PEOPLE, Faults(delay_ms=1.0, jitter_ms=0.0), Faults(delay_ms=5.0, jitter_ms=0.0))


def listen(person: Person, monkeypatch: pytest.MonkeyPatch) -> list[Structure | Schema]:
    """What this client is sent of structure and schemas, in order; the list grows."""
    heard: list[Structure | Schema] = []
    receive = person.core.receive

    def received(link: int, data: bytes, now_ms: float) -> None:
        said = decode_server(data) if data[1] == T_SCHEMA else decode(data)
        if isinstance(said, Structure | Schema):
            heard.append(said)
        receive(link, data, now_ms)

    monkeypatch.setattr(person.core, "receive", received)
    return heard


def keys(blobs: list[bytes]) -> set[tuple[int, ...]]:
    """Which sets of keys these blobs have."""
    return {tuple(sorted(unpack(blob))) for blob in blobs}


def ducks(cluster: Cluster, structure: Structure) -> list[bytes]:
    """Blobs of the ducks that enter."""
    duck = cluster.shard.state.registry.kind_number["duck"]
    kinds = structure.enter_kind.tolist()
    return [blob for kind, blob in zip(kinds, structure.enter_blobs, strict=True) if kind == duck]


def test_a_change_travels_as_its_own_keys_and_a_late_entrant_gets_them_all(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = cluster.shard.state.registry.key
    whole, changed = {(key["mood"], key["rank"])}, {(key["mood"],)}
    heard = [listen(person, monkeypatch) for person in cluster.folk.all]
    cluster.run(6.0)
    for messages in heard:
        structures = [message for message in messages if isinstance(message, Structure)]
        assert keys([blob for s in structures for blob in ducks(cluster, s)]) == whole
        # Ducks' ranks never change, and their mood does; a person's name neither.
        assert keys([blob for s in structures for blob in s.state_blobs]) == changed

    late = cluster.folk.begin(PEOPLE, 0)
    heard_late = listen(late, monkeypatch)
    while not heard_late:
        cluster.run(0.05)
    first = heard_late[0]
    assert isinstance(first, Structure)
    entered = ducks(cluster, first)
    assert keys(entered) == whole
    assert len({unpack(blob)[key["mood"]] for blob in entered}) > 1, "moods of before, not those of their births"
    cluster.run(1.0)
    for person in cluster.folk.all:
        check_visible(cluster, person)
        check_components(cluster, person)


def test_a_changed_schema_is_told_and_everybody_enters_again(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.run(4.0)
    assert all(person.core.connected for person in cluster.folk.all)
    heard = [listen(person, monkeypatch) for person in cluster.folk.all]
    old = cluster.shard.schema
    renamed = [[key, "temper" if name == "mood" else name, *rest] for key, name, *rest in old["components"]]
    changed = {**old, "components": renamed}
    reload_at = cluster.tick + 1
    step = cluster.shard.step

    def reloaded(tick: int, upward: list[Upward]) -> RegionStep:
        result = step(tick, upward)
        if tick == reload_at:
            result.delta.schema = changed
        return result

    monkeypatch.setattr(cluster.shard, "step", reloaded)
    cluster.run(2.0)
    for person, messages in zip(cluster.folk.all, heard, strict=True):
        told = [k for k, message in enumerate(messages) if isinstance(message, Schema)]
        assert len(told) == 1
        again = messages[told[0] + 1]
        assert isinstance(again, Structure)
        assert again.enter_id.size >= check_visible(cluster, person) / 2, "they enter again, at once"
        seen = [person.core.components(n) for n in person.core.records.live.nonzero()[0].tolist()]
        assert any("temper" in known for known in seen)
        assert not any("mood" in known for known in seen)
        assert person.events["SchemaChanged"] == 1
        assert person.events["Lost"] == person.events["Closed"] == 0
        assert person.core.stats.resumes == 0
    assert not any(reason.startswith("closed") for reason in cluster.counts)
    late = cluster.folk.begin(PEOPLE, 0)
    cluster.run(4.0)
    assert late.core.connected
    assert late.core.welcome is not None
    assert late.core.welcome.schema == changed
