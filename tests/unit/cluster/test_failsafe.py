"""The failsafe's words, and its rule in the small; the rule in the large is tested with ownership."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.book import Book, Claim, Member, Owner
from cluster.failsafe import AGAIN_S, AWAY_S, GRANT_S, LINGER_S, PERIOD_S, FailsafeCore, Tell
from cluster.records import SHARD, ClaimRecord, MemberRecord, RegionRecord, claim_key, write
from cluster.store.contract import Change, Record, Relisted, WatchBatch
from protocol.codes import ProtocolViolation
from protocol.failsafe import Consent, Objection, Question, decode, encode

CLAIMS = {4: 2}


def book(*names: str) -> Book:
    made = Book()
    made.members = {name: Member(name, 7, MemberRecord(SHARD, name), 1) for name in names}
    made.regions = {4: Owner(RegionRecord("a", 7, 2), 1)}
    made.claims = {("a", 7): Claim(frozenset(names) - {"a"}, 1)}
    made.saw(4, 2)
    return made


def test_all_must_consent_and_the_grant_counts_from_the_question() -> None:
    core, known = FailsafeCore("a"), book("a", "b", "c")
    assert core.tick(known, CLAIMS, 0.0, AWAY_S - 0.01) == []
    told = core.tick(known, CLAIMS, 0.0, AWAY_S)
    assert told == [Tell("b", Question(1, CLAIMS)), Tell("c", Question(1, CLAIMS))]
    core.heard("b", Consent(1), known, 0.0, AWAY_S + 0.1)
    assert core.until_s < 0
    core.heard("c", Consent(1), known, 0.0, AWAY_S + 0.3)
    assert core.until_s == AWAY_S + GRANT_S


def test_a_late_consent_a_repeated_one_and_a_strangers_change_nothing() -> None:
    core, known = FailsafeCore("a"), book("a", "b", "c")
    core.tick(known, CLAIMS, 0.0, AWAY_S)
    core.tick(known, CLAIMS, 0.0, AWAY_S + PERIOD_S)
    for member, number in (("b", 1), ("c", 1), ("b", 2), ("b", 2), ("x", 2)):
        core.heard(member, Consent(number), known, 0.0, AWAY_S + PERIOD_S)
    assert core.until_s < 0


def test_who_has_not_answered_is_asked_again_in_the_same_round() -> None:
    core, known = FailsafeCore("a"), book("a", "b", "c")
    core.tick(known, CLAIMS, 0.0, AWAY_S)
    core.heard("b", Consent(1), known, 0.0, AWAY_S)
    assert core.tick(known, CLAIMS, 0.0, AWAY_S + AGAIN_S / 2) == []
    assert core.tick(known, CLAIMS, 0.0, AWAY_S + 1.5 * AGAIN_S) == [Tell("c", Question(1, CLAIMS))]


def test_one_objection_is_enough_and_teaches_epochs() -> None:
    core, known = FailsafeCore("a"), book("a", "b", "c")
    core.tick(known, CLAIMS, 0.0, AWAY_S)
    core.heard("b", Objection(1, "newer", {4: 9}), known, 0.0, AWAY_S)
    core.heard("b", Consent(1), known, 0.0, AWAY_S)
    core.heard("c", Consent(1), known, 0.0, AWAY_S)
    assert core.until_s < 0
    assert known.is_stale(4, 8)


def test_who_reaches_the_store_or_knows_better_objects() -> None:
    core, known = FailsafeCore("b"), book("a", "b")
    question = Question(3, CLAIMS)
    assert core.heard("a", question, known, 10.0, 20.0) == [Tell("a", Consent(3))]
    refused = core.heard("a", question, known, 29.9, 30.0)
    assert isinstance(refused[0].word, Objection)
    known.saw(4, 3)
    refused = core.heard("a", question, known, 30.0, 40.0)
    assert isinstance(refused[0].word, Objection)
    assert refused[0].word.epochs == {4: 3}


def test_asking_and_consenting_go_on_for_a_while_when_the_store_is_back() -> None:
    core, known, question = FailsafeCore("b"), book("a", "b"), Question(3, CLAIMS)
    back_s = 20.0
    assert core.heard("a", question, known, 10.0, back_s) == [Tell("a", Consent(3))]
    assert core.heard("a", question, known, back_s, back_s + LINGER_S - 0.01) == [Tell("a", Consent(3))]
    assert isinstance(core.heard("a", question, known, back_s, back_s + LINGER_S)[0].word, Objection)
    assert isinstance(core.heard("a", question, known, back_s + 9.0, back_s + 9.1)[0].word, Objection)
    asker = FailsafeCore("a")
    assert asker.tick(known, CLAIMS, 10.0, back_s)
    assert asker.tick(known, CLAIMS, back_s, back_s + PERIOD_S)
    assert not asker.tick(known, CLAIMS, back_s, back_s + LINGER_S)


def test_a_member_that_knows_nobody_stops() -> None:
    core = FailsafeCore("a")
    assert core.tick(book("a"), CLAIMS, 0.0, AWAY_S) == []
    assert core.until_s < 0


def test_whom_the_claim_names_is_asked_even_if_its_record_is_gone() -> None:
    core, known = FailsafeCore("a"), book("a", "b")
    known.confirmers = frozenset({"b", "c"})
    assert [tell.member for tell in core.tick(known, CLAIMS, 0.0, AWAY_S)] == ["b", "c"]


def test_nobody_consents_for_a_life_that_was_called_over_or_is_unknown() -> None:
    core, question = FailsafeCore("b"), Question(3, CLAIMS)
    over, removed, new = book("a", "b"), book("a", "b"), Book()
    over.disowned.add(("a", 7))
    removed.claims.clear()
    for known in (over, removed, new):
        assert isinstance(core.heard("a", question, known, 10.0, 20.0)[0].word, Objection)


def test_a_life_that_was_called_over_is_forgotten_with_its_claim() -> None:
    known = Book()
    for life in range(1, 50):
        claim = Record(claim_key("a", life), write(ClaimRecord(["b"])), life, life)
        known.watched(WatchBatch(life, (Change(claim.key, claim),)))
        known.disowned.add(("a", life))
        known.watched(WatchBatch(life, (Change(claim_key("x", 1), None),)))
        assert known.disowned == {("a", life)}, "it stays while the claim stands"
        if life % 2:
            known.watched(WatchBatch(life, (Change(claim.key, None),)))
        else:
            known.watched(Relisted(life, ()))
        assert not known.disowned


@given(st.binary(max_size=200))
def test_bytes_from_anywhere_raise_one_error(data: bytes) -> None:
    try:
        decode(data)
    except ProtocolViolation:
        return


def test_words_survive_the_way() -> None:
    for word in (Question(1, CLAIMS), Consent(2), Objection(3, "no", {1: 2})):
        assert decode(encode(word)) == word
        with pytest.raises(ProtocolViolation):
            decode(encode(word)[:-1])
    with pytest.raises(ProtocolViolation, match="claims"):
        decode(encode(Question(1, dict.fromkeys(range(5000), 1))))
