"""One owner for each region, whatever happens to members, links and store; and all regions owned when it is over."""

from collections import Counter
from typing import Any

import pytest

from cluster.asks import Answer, Ask
from cluster.book import Book
from cluster.failsafe import FailsafeCore
from cluster.member import MemberCore
from cluster.placer import PlacerCore
from cluster.records import CLAIMS, KIND_PLACER, SHARD, RegionRecord, region_key, write
from cluster.store.contract import Lease, Put, Transaction
from protocol.failsafe import Consent, Objection, Question
from tests.sim.storefront import StoreFaults
from tests.unit.cluster.fleet import STEP_S, Fleet

LATER_S = 1.0
"""A question that was on its way to the store when it came back is given up after a second."""


def settled(seed: int = 1, **how: object) -> Fleet:
    """A fleet in which every region has an owner."""
    fleet = Fleet(seed, **how)  # type: ignore[arg-type]
    fleet.run(5.0)
    assert fleet.all_owned()
    return fleet


def test_a_new_world_is_given_to_all_shards_evenly() -> None:
    fleet = settled(level=2)
    share = Counter(names[0] for names in fleet.acting().values())
    assert set(share) == {"s0", "s1", "s2"}
    assert max(share.values()) - min(share.values()) <= 2
    assert {int(e.record.epoch) for e in fleet.processes["s0"].member.book.regions.values()} == {1}


def test_regions_of_a_dead_member_go_to_the_living_under_higher_epochs() -> None:
    fleet = settled()
    victim = fleet.acting()[fleet.layout.all()[0]][0]
    before = {region: entry.record.epoch for region, entry in fleet.processes["p0"].member.book.regions.items()}
    fleet.kill(victim)
    fleet.run(4.5)
    assert fleet.all_owned()
    after = fleet.processes["p0"].member.book.regions
    for region, entry in after.items():
        assert entry.record.owner != victim
        assert entry.record.epoch >= before[region]


def test_a_member_whose_links_are_refused_is_dead_before_its_lease_ends() -> None:
    fleet = settled()
    victim = fleet.processes[fleet.acting()[fleet.layout.all()[0]][0]]
    fleet.kill(victim.name)
    fleet.refuse(victim)
    assert fleet.counts["revoked"] == 4, "all others have found it"
    fleet.run(1.5)  # a lease has 3 s
    assert fleet.all_owned()


def test_a_refusal_says_nothing_of_another_life() -> None:
    fleet = settled()
    victim = fleet.processes["s0"]
    fleet.kill("s0")
    fleet.begin("s0", SHARD)
    fleet.run(6.0)
    assert fleet.all_owned()
    before = fleet.processes["s1"].member.book.members["s0"]
    fleet.refuse(victim)
    assert fleet.counts["revoked"] == 0
    fleet.run(1.0)
    assert fleet.processes["s1"].member.book.members["s0"] == before


def test_a_refusal_is_said_again_when_the_store_has_not_heard_it() -> None:
    fleet = settled()
    victim = fleet.processes["s0"]
    fleet.kill("s0")
    fleet.isolate("store", list(fleet.processes))
    fleet.refuse(victim)
    fleet.run(1.1)
    fleet.cut.clear()
    assert "s0" in fleet.processes["s1"].member.book.members
    fleet.refuse(victim)
    fleet.run(0.3)
    assert "s0" not in fleet.processes["s1"].member.book.members
    assert {process.member.lives_ended for process in fleet.processes.values() if not process.dead} == {1}


def test_a_living_member_that_was_taken_for_dead_stops_when_it_hears_and_comes_back() -> None:
    fleet = settled()
    living = fleet.processes["s0"]
    lease = living.member.lease
    assert living.stepped
    fleet.refuse(living)
    while living.member.lease == lease:
        fleet.step()  # which checks that nobody else acts for its regions yet
    assert not living.stepped
    fleet.run(3.0)
    assert fleet.all_owned()
    assert fleet.processes["s1"].member.book.members["s0"].lease not in (0, lease)


def test_a_member_that_leaves_gives_its_regions_away_at_once() -> None:
    fleet = settled()
    leaver = fleet.processes["s0"]
    fleet.do(leaver, leaver.member.leave())
    fleet.run(1.0)
    assert fleet.all_owned()


def test_a_process_that_comes_back_under_its_name_owns_nothing_of_its_former_life() -> None:
    fleet = settled()
    held = set(fleet.processes["s0"].member.claims)
    assert held
    fleet.kill("s0")
    fleet.begin("s0", SHARD)
    fleet.run(1.0)
    assert not set(fleet.processes["s0"].member.claims) & held
    fleet.run(8.0)
    assert fleet.all_owned()


def test_a_paused_member_stops_by_itself_when_it_wakes_up() -> None:
    fleet = settled()
    sleeper = fleet.processes["s0"]
    assert sleeper.member.claims
    sleeper.paused = True
    fleet.run(6.0)
    assert fleet.all_owned(), "the others took over meanwhile"
    sleeper.paused = False
    fleet.step()
    assert not sleeper.stepped.keys() & {r for r, names in fleet.acting().items() if names != ["s0"]}
    fleet.run(8.0)
    assert fleet.all_owned()


def test_without_a_store_the_world_goes_on_as_long_as_all_agree() -> None:
    fleet = settled()
    before = fleet.acting()
    everyone = list(fleet.processes)
    fleet.isolate("store", everyone)
    for _ in range(round(20 / STEP_S)):
        fleet.step()
        assert fleet.acting() == before
    fleet.cut.clear()
    fleet.run(6.0)
    after = fleet.acting()
    assert after == before, "leases were taken up again before anything was placed"
    assert fleet.counts["owned again"] >= len(before)
    fleet.run(10.0)
    assert fleet.acting() == before


def test_a_store_that_comes_back_with_all_its_leases_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As etcd does after a restart: it gives each lease its whole time."""
    fleet = settled()
    before = {name: dict(process.stepped) for name, process in fleet.processes.items()}
    lives = {name: process.member.lease for name, process in fleet.processes.items()}
    fleet.isolate("store", list(fleet.processes))
    advance = fleet.store.advance
    monkeypatch.setattr(fleet.store, "advance", lambda now_s: ())  # it is down
    fleet.run(30.0)
    monkeypatch.setattr(fleet.store, "advance", advance)
    fleet.store.resume(fleet.now_s)
    fleet.cut.clear()
    counts = fleet.counts.copy()
    for _ in range(round(8.0 / STEP_S)):
        fleet.step()
        assert fleet.all_owned()
    assert {name: dict(process.stepped) for name, process in fleet.processes.items()} == before
    for name, process in fleet.processes.items():
        lease, former = process.member.lease, lives[name]
        assert lease is not None
        assert former is not None
        assert lease.id == former.id
    assert (fleet.counts["lost"], fleet.counts["owned again"]) == (counts["lost"], counts["owned again"])


def test_one_silent_member_stops_everybody_while_the_store_is_away() -> None:
    fleet = settled()
    everyone = list(fleet.processes)
    fleet.isolate("store", everyone)
    fleet.run(5.0)
    assert fleet.all_owned()
    fleet.kill("s2")
    fleet.run(4.0)
    assert fleet.acting() == {}
    fleet.cut.clear()
    fleet.run(15.0)
    assert fleet.all_owned()


def test_a_watch_that_comes_back_later_than_the_store_costs_nothing() -> None:
    """The answer to a claim is enough to own by it: a broken watch is noticed after seconds, a grant is over before."""
    fleet = settled()
    before, lost = fleet.acting(), fleet.counts["lost"]
    fleet.isolate("store", list(fleet.processes))
    fleet.run(8.0)
    fleet.deaf = {"s0"}
    fleet.cut.clear()
    fleet.run(3.0)
    assert fleet.acting() == before
    fleet.deaf.clear()
    fleet.run(10.0)
    assert fleet.acting() == before
    assert fleet.counts["lost"] == lost


def test_the_store_may_come_back_to_one_member_later_than_to_the_others() -> None:
    fleet = settled()
    before, lost = fleet.acting(), fleet.counts["lost"]
    fleet.isolate("store", list(fleet.processes))
    fleet.run(8.0)
    fleet.cut.clear()
    fleet.isolate("store", ["s0"])
    fleet.run(LATER_S)
    fleet.cut.clear()
    fleet.run(12.0)
    assert fleet.acting() == before
    assert fleet.counts["lost"] == lost


def test_a_member_cut_off_from_the_store_alone_is_refused_and_replaced() -> None:
    fleet = settled()
    assert fleet.processes["s0"].member.claims
    fleet.isolate("s0", ["store"])
    fleet.run(2.75)
    assert not fleet.processes["s0"].member.owned(fleet.now_s + fleet.processes["s0"].offset_s)
    assert fleet.processes["s0"].failsafe is not None
    assert fleet.processes["s0"].failsafe.objections > 0
    fleet.run(2.0)
    assert fleet.all_owned()


def test_newcomers_give_away_nothing_that_the_failsafe_lets_go_on() -> None:
    fleet = settled()
    before = fleet.acting()
    fleet.isolate("store", list(fleet.processes))
    fleet.run(5.0)
    fleet.begin("s9", SHARD)
    fleet.begin("p9", KIND_PLACER)
    fleet.run(15.0)
    assert fleet.processes["p9"].member.book.placer, "the newcomers reach the store, and one is elected"
    assert fleet.acting() == before
    fleet.cut.clear()
    fleet.run(12.0)
    assert fleet.all_owned()


def test_a_whole_cluster_that_died_comes_back_under_its_names() -> None:
    fleet = settled()
    kinds = {name: process.member.book.members[name].record.kind for name, process in fleet.processes.items()}
    for name in kinds:
        fleet.kill(name)
    for name, kind in kinds.items():
        fleet.begin(name, kind)
    fleet.run(12.0)
    assert fleet.all_owned()
    fleet.run(1.0)
    lives = {(name, p.member.lease.id) for name, p in fleet.processes.items() if p.member.lease is not None}
    assert set(fleet.processes["p0"].member.book.claims) == lives, "no claim of a former life is left"


def storm(fleet: Fleet, seconds: float) -> None:
    """Everything goes wrong at random for a while."""
    rng = fleet.rng
    for _ in range(round(seconds)):
        lost_answer, slow_s = float(rng.choice([0.0, 0.2, 0.5])), float(rng.choice([0.01, 0.3]))
        fleet.front.faults = StoreFaults(lost_answer=lost_answer, slow_s=slow_s)
        fleet.link_loss = 0.2
        names = list(fleet.processes)
        name = str(rng.choice(names))
        process = fleet.processes[name]
        match int(rng.integers(9)):
            case 0:
                process.paused = True
                fleet.counts["paused"] += 1
            case 1:
                for other in fleet.processes.values():
                    other.paused = False
            case 2:
                fleet.isolate(name, ["store"])
                fleet.counts["cut from the store"] += 1
            case 3:
                fleet.cut.add(("store", name))
                fleet.counts["cut one way"] += 1
            case 4:
                fleet.cut.clear()
                fleet.front.faults = StoreFaults()
                fleet.link_loss = 0.0
                for other in fleet.processes.values():
                    other.paused = False
                fleet.run(5.0)
                fleet.isolate("store", names)
                fleet.run(4.0)
                fleet.counts["store away"] += 1
                fleet.cut.clear()
                fleet.front.faults = StoreFaults(slow_s=0.5)
            case 5:
                fleet.isolate(name, [other for other in names if other != name])
                fleet.counts["cut from members"] += 1
            case 6 | 7:
                fleet.cut.clear()
            case 8:
                if name.startswith("s"):
                    fleet.kill(name)
                    fleet.begin(name, SHARD)
        fleet.run(float(rng.uniform(0.5, 4.0)))
    fleet.cut.clear()
    fleet.front.faults = StoreFaults()
    fleet.link_loss = 0.0
    for process in fleet.processes.values():
        process.paused = False


def test_one_owner_in_every_storm() -> None:
    counts: Counter[str] = Counter()
    for seed in range(25):
        fleet = Fleet(seed)
        storm(fleet, 25)
        fleet.run(20.0)
        assert fleet.all_owned(), f"seed {seed}: {fleet.acting()}"
        counts += fleet.counts
    never = [what for what in ("killed", "paused", "cut from the store", "cut one way", "store away", "answer lost",
             "question lost", "cut from members", "owned", "owned again", "lost") if not counts[what]]  # fmt: skip
    assert not never, f"these never happened: {never}"


class CountsFromTheReply(MemberCore):
    """Mutant: the lease begins when its answer comes."""

    def answered(self, number: int, answer: Answer, now_s: float) -> list[object]:  # type: ignore[override]
        if isinstance(answer, Lease):
            answer = Lease(answer.id, answer.ttl_s, now_s + 0.5)
        return list(MemberCore.answered(self, number, answer, now_s))


class NeverStops(MemberCore):
    """Mutant: forgets that leases end."""

    def owned_lease(self, now_s: float) -> bool:
        return self.lease is not None


class BlindConsent(FailsafeCore):
    """Mutant: consents although the store answers it."""

    def _answer(self, question: Question, book: Book, answered_s: float, now_s: float) -> Consent | Objection:
        return Consent(question.round)


class GivesClaimedAway(PlacerCore):
    """Mutant: a life whose lease has ended is over, whatever its claim says."""

    @staticmethod
    def _is_claimed(region: int, book: Book) -> bool:
        return False

    def tick(self, member: MemberCore, now_s: float) -> list[object]:  # type: ignore[override]
        asks: list[object] = []
        for action in PlacerCore.tick(self, member, now_s):
            if isinstance(action, Ask) and isinstance(action.question, Transaction):
                question = action.question
                kept = tuple(c for c in question.compares if not c.key.startswith(CLAIMS))
                action = Ask(action.number, Transaction(kept, question.operations))
            asks.append(action)
        return asks


def test_a_placer_that_heeds_no_claim_is_found() -> None:
    fleet = settled(placer=GivesClaimedAway)
    fleet.isolate("store", list(fleet.processes))
    fleet.run(5.0)
    fleet.begin("s9", SHARD)
    fleet.begin("p9", KIND_PLACER)
    with pytest.raises(AssertionError, match="is acted on by"):
        fleet.run(15.0)


def test_blind_consent_is_found() -> None:
    fleet = settled(failsafe=BlindConsent)
    assert fleet.processes["s0"].member.claims
    fleet.isolate("s0", ["store"])
    with pytest.raises(AssertionError, match="is acted on by"):
        fleet.run(15.0)


@pytest.mark.parametrize(
    "mutant",
    [{"member": CountsFromTheReply}, {"member": NeverStops}],
    ids=lambda mutant: next(iter(mutant.values())).__name__,
)
def test_mutants_are_found_within_fifty_seeds(mutant: dict[str, Any]) -> None:
    for seed in range(50):
        fleet = Fleet(seed, **mutant)
        try:
            storm(fleet, 25)
            fleet.run(20.0)
        except AssertionError:
            return
    pytest.fail("the mutant was not found")


def test_records_that_cannot_be_read_are_told_and_change_nothing() -> None:
    fleet = settled()
    book = fleet.processes["s0"].member.book
    before = dict(book.regions)
    region = fleet.layout.all()[0]
    fleet.store.transact(Transaction((), (Put(region_key(region), b"\xc1 nonsense"),)))
    fleet.step()
    assert book.problems
    assert region_key(region) in book.problems[0]
    del before[region]
    assert {r: entry for r, entry in book.regions.items() if r != region} == before


def test_a_region_that_the_durable_store_refused_before_the_watch_told_of_it_is_not_left_alone() -> None:
    """A move wrote the record; its target heard of it from the former owner, and of a higher epoch from the store."""
    fleet = settled()
    region = fleet.layout.all()[0]
    target = next(p for n, p in fleet.processes.items() if n[0] == "s" and n != fleet.acting()[region][0])
    member, now_s = target.member, fleet.now_s + target.offset_s
    assert member.lease is not None
    fleet.deaf.add(target.name)
    record = RegionRecord(target.name, member.lease.id, 2, move=5)
    fleet.store.transact(Transaction((), (Put(region_key(region), write(record)),)))
    assert member.took_over(region, 2, member.lease.id, now_s)
    fleet.do(target, member.overtaken(region, 7))
    fleet.run(0.2)
    fleet.deaf.clear()
    fleet.run(1.0)
    assert fleet.acting()[region] == [target.name]
    assert fleet.processes["p0"].member.book.regions[region].record.epoch == 8
