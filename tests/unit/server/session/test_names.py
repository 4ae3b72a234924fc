"""Names: normal form, what is refused, who looks like whom; headroom and token buckets beside them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.session.admission import Headroom
from server.session.buckets import TokenBucket
from server.session.chat import cleaned
from server.session.limits import SessionLimits
from server.session.names import NameBook, NameRefused, keys, normalised, skeleton
from server.session.presence import PresenceBook
from tests.unit.server.session.rig import seeded


def test_names_are_brought_into_normal_form() -> None:
    assert normalised("  \uff21nna \u00a0 Mu\u0308ller ", 32) == "Anna M\u00fcller"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "name_empty"),
        ("  ", "name_empty"),
        ("...", "name_empty"),
        ("x" * 33, "name_long"),
        ("a\nb", "name_characters"),
        ("a\u202eb", "name_characters"),
        ("a\u200bb", "name_characters"),
        ("a\ue000b", "name_characters"),
        ("\ud800", "name_characters"),
        ("z" + "\u0335" * 4, "name_characters"),
    ],
)
def test_names_that_are_refused(name: str, reason: str) -> None:
    with pytest.raises(NameRefused) as refusal:
        normalised(name, 32)
    assert refusal.value.reason == reason


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("paypal", "\u0440\u0430\u0443\u0440\u0430l"),
        ("Ian", "lan"),
        ("Ian", "ian"),
        ("Anna", "ANNA"),
        ("modem", "modern"),
        ("B0B", "BOB"),
        ("\u0391nna", "Anna"),
    ],
)
def test_look_alikes_share_a_key(one: str, other: str) -> None:
    assert keys(one) & keys(other)


@pytest.mark.parametrize(("one", "other"), [("Anna", "Hanna"), ("bot 1", "bot 2"), ("Anna", "\u00c4nna"), ("Li", "Lu")])
def test_others_do_not(one: str, other: str) -> None:
    assert not keys(one) & keys(other)


@given(st.text(max_size=40))
def test_normal_form_and_skeleton_are_stable(text: str) -> None:
    try:
        name = normalised(text, 32)
    except NameRefused:
        return
    assert normalised(name, 32) == name
    assert skeleton(skeleton(name)) == skeleton(name)


@given(st.lists(st.sampled_from(["Anna", "anna", "\u0391nna", "Bo", "B0", "Guest"]), max_size=60))
def test_no_two_taken_names_look_alike_and_release_forgets(names: list[str]) -> None:
    book = NameBook(32, ("admin",), seeded())
    taken = [book.take(name, suffix=True) for name in names]
    for index, name in enumerate(taken):
        assert not any(keys(name) & keys(other) for other in taken[:index])
    for name in taken:
        book.release(name)
    assert len(book) == 0


def test_a_thousand_guests_of_one_name_find_a_suffix() -> None:
    book = NameBook(32, (), seeded())
    names = {book.take("Guest", suffix=True) for _ in range(1000)}
    assert len(names) == 1000
    assert max(map(len, names)) <= len("Guest 12345678")


def test_a_suffix_must_fit() -> None:
    book = NameBook(8, (), seeded())
    book.take("Matthias", suffix=True)
    with pytest.raises(NameRefused, match="shorter"):
        book.take("Matthias", suffix=True)


def test_chat_keeps_words_and_drops_controls() -> None:
    family = "\U0001f468\u200d\U0001f469"
    assert cleaned(f" a\r\n\tb\u0007 \u202e{family}e\u0301 ") == f"a b {family}\u00e9"


def test_headroom_closes_late_and_opens_later() -> None:
    headroom = Headroom(tick_s=0.05)
    assert headroom.ticked(3.0)
    assert headroom.ticked(30.0), "one tick that was held up for a second and a half"
    assert not headroom.ticked(40.0), "and one of two seconds right behind it"
    headroom = Headroom(tick_s=0.05)
    while headroom.ticked(0.9):
        pass
    assert 0.79 < headroom.busy < 0.81
    for _ in range(400):
        headroom.ticked(0.7)
    assert not headroom.admits
    while not headroom.ticked(0.5):
        pass
    assert 0.64 < headroom.busy < 0.65
    with pytest.raises(ValueError, match="headroom"):
        Headroom(0.05, close_at=0.5, open_at=0.6)


@given(st.lists(st.floats(0, 10), max_size=100))
def test_a_bucket_gives_at_most_burst_and_rate(waits_s: list[float]) -> None:
    bucket = TokenBucket(2.0, 5.0, 0.0)
    now_s, given_out = 0.0, 0
    for wait_s in waits_s:
        now_s += wait_s
        given_out += bucket.take(now_s)
        assert given_out <= 5 + 2 * now_s + 1e-6


def test_a_bucket_ignores_a_clock_that_goes_back() -> None:
    bucket = TokenBucket(1.0, 1.0, 10.0)
    assert bucket.take(10.0)
    assert not bucket.take(5.0)
    assert not bucket.take(10.5)
    assert bucket.take(11.1)


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=80))
def test_presence_tells_a_newcomer_and_a_witness_the_same(steps: list[tuple[int, bool]]) -> None:
    book = PresenceBook(2, 3, 1000)
    witness: dict[int, str] = {}
    present: set[int] = set()
    for who, batch in steps:
        if who in present:
            book.left(who)
            present.remove(who)
        elif who not in witness:  # entity ids are never reused, so one who left must be forgotten first
            book.joined(who, str(who))
            present.add(who)
        if batch and (news := book.batch()) is not None:
            assert len(news.joined) <= 2
            assert len(news.left) <= 3
            for gone in news.left:
                del witness[gone]
            witness.update(news.joined)
            assert news.online == len(present)
    while (news := book.batch()) is not None:
        for gone in news.left:
            del witness[gone]
        witness.update(news.joined)
    assert set(witness) == present
    assert dict(book.newcomer().joined) == witness


@pytest.mark.parametrize(
    "wrong",
    [
        {"sessions_max": 0},
        {"chat_per_s": float("inf")},
        {"hello_timeout_s": float("nan")},
        {"name_chars_max": 99},
        {"chat_burst": 0.5},
    ],
)
def test_limits_must_be_finite_and_possible(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="sessions"):
        SessionLimits(**wrong)
