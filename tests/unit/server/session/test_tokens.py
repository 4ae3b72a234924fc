"""Tokens: what is accepted, what each refusal is called, that nothing secret is told, and key sets as they come from
issuers."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet, OctKey, OKPKey
from joserfc.jws import JWSRegistry

from protocol.codes import Close
from server.session.identity import Identity, KeyUnknown, TokenRefused
from server.session.jwks import JwksKeeper, JwksUnavailable, read_jwks
from server.session.tokens import GuestIssuer, TokenRules, TokenVerifier, authenticator, key_set
from tests.unit.server.session.rig import seeded

NOW = 1_800_000_000.0
KEY = OKPKey.generate_key("Ed25519", {"kid": "one"})
RULES = TokenRules("https://id.example", "isthmus")
GOOD: dict[str, Any] = {"iss": "https://id.example", "aud": "isthmus", "sub": "anna", "exp": NOW + 60}


def signed(claims: dict[str, Any], key: Key = KEY, alg: str = "Ed25519", kid: str | None = "one") -> str:
    header = {"alg": alg} if kid is None else {"alg": alg, "kid": kid}
    return jwt.encode(header, claims, key, registry=JWSRegistry(algorithms=[alg]))


@pytest.fixture
def verifier() -> TokenVerifier:
    return TokenVerifier(RULES, key_set(KeySet([KEY]).as_dict(private=False)))


def test_a_good_token_gives_issuer_subject_name_and_roles(verifier: TokenVerifier) -> None:
    token = signed({**GOOD, "name": "Anna", "roles": ["builder"], "aud": ["other", "isthmus"]})
    identity = verifier.verify(token, NOW)
    assert identity == Identity("https://id.example", "anna", "Anna", frozenset({"builder"}))


def test_clocks_may_differ_by_the_leeway(verifier: TokenVerifier) -> None:
    assert verifier.verify(signed(GOOD), NOW + 60 + 29).subject == "anna"
    assert verifier.verify(signed({**GOOD, "nbf": NOW + 29}), NOW).subject == "anna"
    with pytest.raises(TokenRefused) as refusal:
        verifier.verify(signed(GOOD), NOW + 60 + 31)
    assert refusal.value.code is Close.TOKEN_EXPIRED


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 300},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": NOW + 3600},
        {"name": 5},
        {"roles": "builder"},
        {"roles": [1]},
    ],
)
def test_wrong_claims_make_a_token_invalid(verifier: TokenVerifier, changes: dict[str, Any]) -> None:
    claims = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    token = signed(claims)
    with pytest.raises(TokenRefused) as refusal:
        verifier.verify(token, NOW)
    assert refusal.value.code is Close.TOKEN_INVALID


def test_the_signature_decides(verifier: TokenVerifier) -> None:
    forger = OKPKey.generate_key("Ed25519", {"kid": "one"})
    with pytest.raises(TokenRefused) as refusal:
        verifier.verify(signed(GOOD, forger), NOW)
    assert refusal.value.code is Close.TOKEN_INVALID


def test_an_unknown_key_is_told_apart_so_that_keys_can_be_fetched(verifier: TokenVerifier) -> None:
    rotated = OKPKey.generate_key("Ed25519", {"kid": "two"})
    with pytest.raises(KeyUnknown):
        verifier.verify(signed(GOOD, rotated, kid="two"), NOW)
    verifier.keys = KeySet([KEY, rotated])
    assert verifier.verify(signed(GOOD, rotated, kid="two"), NOW).subject == "anna"


def test_algorithms_outside_the_list_are_refused_whatever_the_key(verifier: TokenVerifier) -> None:
    curve = ECKey.generate_key("P-256", {"kid": "one"})
    secret = OctKey.import_key(json.dumps(KEY.as_dict(private=False)), {"kid": "one"})
    header, payload, _ = signed(GOOD).split(".")
    unsigned = "eyJhbGciOiJub25lIiwia2lkIjoib25lIn0." + payload + "."
    for token in (signed(GOOD, curve, "ES256"), signed(GOOD, secret, "HS256"), unsigned, f"{header}.{payload}."):
        with pytest.raises(TokenRefused) as refusal:
            verifier.verify(token, NOW)
        assert refusal.value.code is Close.TOKEN_INVALID
    allowed = TokenVerifier(TokenRules("https://id.example", "isthmus", ("ES256",)), KeySet([curve]))
    assert allowed.verify(signed(GOOD, curve, "ES256"), NOW).subject == "anna"


def test_both_names_of_edwards_signatures_are_accepted_without_a_warning(verifier: TokenVerifier) -> None:
    guests = GuestIssuer("isthmus", lambda: NOW, seeded())
    assert guests.verifier.verify(guests.issue("Anna"), NOW).name == "Anna"


def test_no_token_and_no_issuer() -> None:
    with pytest.raises(TokenRefused) as refusal:
        TokenVerifier(RULES, KeySet([KEY])).verify(None, NOW)
    assert refusal.value.code is Close.TOKEN_MISSING
    with pytest.raises(ValueError, match="no issuer"):
        authenticator([], lambda: NOW)


@given(st.one_of(st.text(max_size=200), st.binary(max_size=100).map(lambda data: data.hex() + ".." + data.hex())))
def test_no_text_breaks_the_verifier_or_is_repeated(token: str) -> None:
    verifier = TokenVerifier(RULES, KeySet([KEY]))
    with pytest.raises(TokenRefused) as refusal:
        verifier.verify(token, NOW)
    assert len(token) < 20 or token not in str(refusal.value)


@given(st.data())
def test_a_token_with_any_change_is_refused(data: st.DataObject) -> None:
    token = signed(GOOD)
    at = data.draw(st.integers(0, len(token) - 3))
    changed = token[:at] + data.draw(st.sampled_from("aZ5_-.=")) + token[at + 1 :]
    verifier = TokenVerifier(RULES, KeySet([KEY]))
    if changed != token:
        with pytest.raises((TokenRefused, KeyUnknown)):
            verifier.verify(changed, NOW)


@pytest.mark.parametrize(
    "rules",
    [
        lambda: TokenRules("", "isthmus"),
        lambda: TokenRules("x", ""),
        lambda: TokenRules("x", "y", ("HS256",)),
        lambda: TokenRules("x", "y", ()),
        lambda: TokenRules("x", "y", leeway_s=10_000),
    ],
)
def test_rules_that_would_let_anybody_in_are_refused(rules: Callable[[], TokenRules]) -> None:
    with pytest.raises(ValueError, match="auth"):
        rules()


def test_guests_are_distinct_and_known_only_to_their_own_issuer() -> None:
    guests, others = (GuestIssuer("isthmus", lambda: NOW, seeded(seed)) for seed in (1, 2))
    authenticate = authenticator([guests.verifier], lambda: NOW)
    first, second = authenticate(guests.issue()), authenticate(guests.issue())
    assert first.guest
    assert first.subject != second.subject
    with pytest.raises(KeyUnknown):
        authenticate(others.issue())
    for token in (signed(GOOD), "x", "a.b.c", "\u00e4", signed({"sub": "no issuer"}), "x" * 9999):
        with pytest.raises(TokenRefused) as refusal:
            authenticate(token)
        assert refusal.value.code is Close.TOKEN_INVALID
    with pytest.raises(ValueError, match="same issuer"):
        authenticator([guests.verifier, others.verifier], lambda: NOW)
    both = authenticator([guests.verifier, TokenVerifier(RULES, KeySet([KEY]))], lambda: NOW)
    assert not both(signed(GOOD)).guest
    assert both(guests.issue()).guest


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"keys": []},
        {"keys": [5]},
        {"keys": [{"kty": "oct", "k": "AAAA"}]},
        {"keys": [KEY.as_dict(private=True)]},
        {"keys": [{"kty": "OKP", "crv": "Ed25519"}]},
        {"keys": [{"kty": "new"}]},
    ],
)
def test_key_sets_that_are_wrong_say_so(document: object) -> None:
    with pytest.raises(ValueError, match="JWKS"):
        key_set(document)


def test_keys_of_unknown_kinds_are_left_out() -> None:
    keys = key_set({"keys": [{"kty": "new"}, {"kty": "EC", "use": "enc"}, KEY.as_dict(private=False)]})
    assert [key.kid for key in keys.keys] == ["one"]


async def test_keys_from_a_file_and_its_failures(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    verifier = TokenVerifier(RULES, KeySet([]))
    keeper = JwksKeeper(str(path), verifier, lambda: 0.0)
    with pytest.raises(JwksUnavailable, match="No such file"):
        await keeper.load()
    path.write_text("[")
    with pytest.raises(JwksUnavailable, match="not a JSON"):
        await keeper.load()
    path.write_text("{}")
    with pytest.raises(JwksUnavailable, match="list"):
        await keeper.load()
    path.write_text(json.dumps(KeySet([KEY]).as_dict(private=False)))
    await keeper.load()
    assert verifier.verify(signed(GOOD), NOW).subject == "anna"


async def test_keys_over_http_are_refreshed_at_most_once_in_an_interval_and_kept_on_failure() -> None:
    answers: list[web.Response] = []
    now_s = 0.0

    async def answer(request: web.Request) -> web.Response:
        return answers.pop()

    app = web.Application()
    app.router.add_get("/keys", answer)
    async with TestServer(app) as server:
        verifier = TokenVerifier(RULES, KeySet([]))
        keeper = JwksKeeper(str(server.make_url("/keys")), verifier, lambda: now_s, interval_s=30)
        answers.append(web.json_response(KeySet([KEY]).as_dict(private=False)))
        await keeper.load()
        assert not await keeper.refresh()
        now_s = 31.0
        answers.append(web.Response(status=500))
        assert not await keeper.refresh()
        assert verifier.verify(signed(GOOD), NOW).subject == "anna"
        now_s = 62.0
        second = OKPKey.generate_key("Ed25519", {"kid": "two"})
        answers.append(web.json_response(KeySet([KEY, second]).as_dict(private=False)))
        assert await keeper.refresh()
        assert verifier.verify(signed(GOOD, second, kid="two"), NOW).subject == "anna"
        answers.append(web.Response(text="x" * 300_000))
        with pytest.raises(JwksUnavailable, match="larger"):
            await keeper.load()


async def test_keys_do_not_travel_in_the_clear() -> None:
    with pytest.raises(JwksUnavailable, match="https"):
        await read_jwks("http://192.0.2.1/keys")


def test_no_token_is_logged(verifier: TokenVerifier, caplog: pytest.LogCaptureFixture) -> None:
    token = signed({**GOOD, "aud": "other"})
    with caplog.at_level(logging.DEBUG), pytest.raises(TokenRefused) as refusal:
        verifier.verify(token, NOW)
    said = caplog.text + repr(refusal.value) + str(refusal.value.__cause__)
    assert not any(part in said for part in token.split("."))
