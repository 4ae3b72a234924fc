"""Who is an operator, and who is told that they are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codes import Close
from server.console.access import SECRET_CHARS_MIN, Operators, Refused, read_secrets
from server.session.identity import Identity, TokenRefused

SECRET = "s" * SECRET_CHARS_MIN
OTHER = "t" * SECRET_CHARS_MIN


def _authenticate(token: str | None) -> Identity:
    match token:
        case "a.good.one":
            return Identity("issuer", "u1", "Ada", frozenset({"operator", "author"}))
        case "a.plain.one":
            return Identity("issuer", "u2", "Bob", frozenset({"author"}))
        case "a.guest.one":
            return Identity("issuer", "u3", "Eve", frozenset({"operator"}), guest=True)
    raise TokenRefused(Close.TOKEN_INVALID, "token_invalid", "no")


def test_a_secret_names_its_operator() -> None:
    operators = Operators(read_secrets(f"# who\n\nada {SECRET}\nbob {OTHER}\n"))
    assert operators.of(f"Bearer {SECRET}").name == "ada"
    assert operators.of(f"bearer  {OTHER} ").name == "bob"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        (f"Basic {SECRET}", 401),
        (f"Bearer {SECRET[:-1]}", 401),
        (f"Bearer {SECRET}x", 401),
        ("Bearer a.good.one", 401),  # no role is configured
    ],
)
def test_whoever_proves_nothing_is_told_so(header: str | None, status: int) -> None:
    operators = Operators(read_secrets(f"ada {SECRET}"), None, _authenticate)
    with pytest.raises(Refused) as refused:
        operators.of(header)
    assert refused.value.status == status
    assert SECRET not in str(refused.value)
    assert "a.good.one" not in str(refused.value)


def test_a_token_needs_the_role() -> None:
    operators = Operators({}, "operator", _authenticate)
    found = operators.of("Bearer a.good.one")
    assert (found.name, found.how) == ("Ada", "token")
    for token, status in (("a.plain.one", 403), ("a.guest.one", 403), ("a.bad.one", 401), ("nothing", 401)):
        with pytest.raises(Refused) as refused:
            operators.of(f"Bearer {token}")
        assert refused.value.status == status


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "0 operators"),
        (f"ada {SECRET[:-1]}", "line 1: the secret has 31 characters"),
        (f"\nada {SECRET} more", "line 2: write NAME SECRET"),
        (f"a/b {SECRET}", "line 1"),
        (f"ada {SECRET}\nada {OTHER}", "line 2: ada has a secret already"),
    ],
)
def test_a_bad_file_is_refused_by_line_and_without_its_secrets(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as problem:
        read_secrets(text)
    assert SECRET[:-1] not in str(problem.value)


@given(st.text(max_size=200))
def test_no_header_does_more_than_be_refused(header: str) -> None:
    with pytest.raises(Refused):
        Operators(read_secrets(f"ada {SECRET}"), "operator", _authenticate).of(header)
