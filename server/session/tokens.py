"""Identities from signed tokens (JWT, RFC 7519; keys as JWK sets, RFC 7517; EdDSA, RFC 8037 and RFC 9864).

A token proves (issuer, subject) if a key of the set signed it with an allowed algorithm, it is meant for this
audience, and its time has come and is not over. What is wrong is told by code: 4200 expired (a new one will do), 4202
missing, 4201 everything else.

Invariants: only asymmetric algorithms are ever accepted; ``exp``, ``iss``, ``aud`` and ``sub`` are always required;
no token or part of one appears in a message or exception text. Not responsible for: fetching keys (``jwks``), what
roles permit.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet, OKPKey
from joserfc.jws import JWSRegistry, extract_compact
from typing_extensions import override

from protocol.codes import Close
from protocol.limits import TOKEN_BYTES_MAX
from server.session.identity import Identity, KeyUnknown, TokenRefused

ALGORITHMS: Final = frozenset({"EdDSA", "Ed25519", "ES256", "ES384", "ES512", "RS256", "PS256"})
"""What may be allowed. Symmetric ones are not among them: whoever could check a token could also make one."""
SUBJECT_CHARS_MAX: Final = 256
ROLES_MAX: Final = 32
GUEST_ISSUER: Final = "isthmus:guest"
GUEST_LIFETIME_S: Final = 3600
_GUEST_ALGORITHM: Final = "EdDSA"
_GUEST_KEY_BYTES: Final = 32
_GUEST_CONTEXT: Final = b"isthmus guest tokens 1"


class _Algorithms(JWSRegistry):
    """Exactly the allowed algorithms. The library's own registry warns at each use of the name EdDSA, which RFC 9864
    replaces by Ed25519: most issuers still write the old name, and with Ed25519 keys both mean the same."""

    @override
    def get_alg(self, name: str) -> Any:
        if self.allowed is not None and name in self.allowed and name in self.algorithms:
            return self.algorithms[name]
        return super().get_alg(name)


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Which tokens are good here. Raises ValueError on rules that would accept what nobody should."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...] = ("EdDSA", "Ed25519")
    leeway_s: int = 30
    """Clocks of issuer and server may differ by this much."""
    roles_claim: str = "roles"
    """A claim with a list of strings."""
    guest: bool = False

    def __post_init__(self) -> None:
        if not self.issuer or not self.audience:
            raise ValueError("auth: issuer and audience must be set: else tokens made for others would be accepted")
        wrong = [name for name in self.algorithms if name not in ALGORITHMS]
        if wrong or not self.algorithms:
            raise ValueError(f"auth.algorithms: {wrong or 'empty'}; allowed are {', '.join(sorted(ALGORITHMS))}")
        if not 0 <= self.leeway_s <= 300:
            raise ValueError(f"auth.leeway_s = {self.leeway_s}: 0 to 300 seconds make sense")


class TokenVerifier:
    """Checks tokens against ``keys``, which may be replaced at any time (rotation)."""

    def __init__(self, rules: TokenRules, keys: KeySet) -> None:
        self.rules = rules
        self.keys = keys
        self._registry = _Algorithms(algorithms=rules.algorithms)

    def verify(self, token: str | None, unix_s: float) -> Identity:
        """Identity that ``token`` proves at ``unix_s`` (seconds since 1970). Raises TokenRefused or KeyUnknown."""
        if not token:
            raise TokenRefused(Close.TOKEN_MISSING, "token_missing", "a signed token is needed to enter this world")
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            raise TokenRefused(Close.TOKEN_INVALID, "token_malformed", "the token is not a JWT")
        rules = self.rules
        claims_rules = jwt.JWTClaimsRegistry(
            now=int(unix_s),
            leeway=rules.leeway_s,
            iss={"essential": True, "value": rules.issuer},
            aud={"essential": True, "value": rules.audience},
            sub={"essential": True},
            exp={"essential": True},
        )
        try:
            claims = jwt.decode(token, self.keys, registry=self._registry).claims
            claims_rules.validate(claims)
        except InvalidKeyIdError:
            raise KeyUnknown from None
        except ExpiredTokenError:
            raise TokenRefused(Close.TOKEN_EXPIRED, "token_expired", "the token has expired; get a new one") from None
        except JoseError as error:
            # The library's texts may quote claims: only the kind of failure goes on.
            text = f"the token was not accepted ({error.error})"
            raise TokenRefused(Close.TOKEN_INVALID, "token_invalid", text) from None
        except (ValueError, TypeError, KeyError, RecursionError):
            raise TokenRefused(Close.TOKEN_INVALID, "token_malformed", "the token is not a well-formed JWT") from None
        return self._identity(claims)

    def _identity(self, claims: dict[str, Any]) -> Identity:
        subject, name, roles = claims["sub"], claims.get("name"), claims.get(self.rules.roles_claim, [])
        if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_CHARS_MAX:
            text = f"the token's subject must have 1 to {SUBJECT_CHARS_MAX} characters"
            raise TokenRefused(Close.TOKEN_INVALID, "token_claims", text)
        if name is not None and not isinstance(name, str):
            raise TokenRefused(Close.TOKEN_INVALID, "token_claims", "the token's claim 'name' must be a string")
        if not isinstance(roles, list) or len(roles) > ROLES_MAX or not all(isinstance(role, str) for role in roles):
            text = f"the token's claim {self.rules.roles_claim!r} must be a list of at most {ROLES_MAX} strings"
            raise TokenRefused(Close.TOKEN_INVALID, "token_claims", text)
        return Identity(self.rules.issuer, subject, name, frozenset(roles), self.rules.guest)


def key_set(document: object) -> KeySet:
    """The signing keys of a JWKS document (a dict as parsed from JSON). Raises ValueError with what is wrong.

    Keys of kinds that no allowed algorithm uses are left out, as RFC 7517 §5 asks; private and symmetric keys are an
    error.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError('a JWKS is a JSON object with a list "keys"')
    usable: list[Any] = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("kty"), str):
            raise ValueError('each key of a JWKS is an object with a "kty"')
        if entry["kty"] == "oct" or "d" in entry:
            raise ValueError("the JWKS contains a secret key; publish public keys only, and replace this one")
        if entry["kty"] in ("OKP", "EC", "RSA") and entry.get("use", "sig") == "sig":
            usable.append(entry)
    if not usable:
        raise ValueError("the JWKS contains no public signing key")
    try:
        return KeySet.import_key_set({"keys": usable})
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"the JWKS cannot be read: {type(error).__name__}") from None


class GuestIssuer:
    """Guest tokens of development mode, signed by a key that lives as long as the process, or with ``cluster_key`` by
    one that all gateways derive from it by HKDF (RFC 5869).

    Production has no instance of this class, so no guest token is ever accepted there.
    ``unix_s``: the wall clock; ``random_bytes``: for subjects.
    """

    def __init__(
        self,
        audience: str,
        unix_s: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        cluster_key: bytes | None = None,
    ) -> None:
        secret = random_bytes(_GUEST_KEY_BYTES)
        if cluster_key is not None:
            secret = HKDF(SHA256(), _GUEST_KEY_BYTES, salt=None, info=_GUEST_CONTEXT).derive(cluster_key)
        key = Ed25519PrivateKey.from_private_bytes(secret)
        kid = f"guest-{key.public_key().public_bytes_raw()[:8].hex()}"
        self._key = OKPKey.import_key(key, {"kid": kid, "use": "sig"})
        self._unix_s = unix_s
        self._random_bytes = random_bytes
        self._rules = TokenRules(GUEST_ISSUER, audience, (_GUEST_ALGORITHM,), guest=True)
        self._registry = _Algorithms(algorithms=self._rules.algorithms)
        self.verifier = TokenVerifier(self._rules, KeySet([self._key]))

    def issue(self, name: str | None = None) -> str:
        """A token for a new guest, valid for an hour."""
        now = int(self._unix_s())
        claims: dict[str, Any] = {
            "iss": self._rules.issuer,
            "aud": self._rules.audience,
            "sub": self._random_bytes(16).hex(),
            "iat": now,
            "exp": now + GUEST_LIFETIME_S,
        }
        if name is not None:
            claims["name"] = name
        header = {"alg": _GUEST_ALGORITHM, "kid": self._key.kid}
        return jwt.encode(header, claims, self._key, registry=self._registry)


def authenticator(verifiers: Sequence[TokenVerifier], unix_s: Callable[[], float]) -> Callable[[str | None], Identity]:
    """What ``Sessions`` asks: the verifier of the issuer that a token names decides.

    ``unix_s`` is the wall clock. Raises ValueError if ``verifiers`` is empty or two have the same issuer.
    """
    by_issuer = {verifier.rules.issuer: verifier for verifier in verifiers}
    if not by_issuer:
        raise ValueError("auth: no issuer is configured; set one, or use development mode")
    if len(by_issuer) < len(verifiers):
        raise ValueError("auth: two verifiers have the same issuer")

    def authenticate(token: str | None) -> Identity:
        if not token:
            raise TokenRefused(Close.TOKEN_MISSING, "token_missing", "a signed token is needed to enter this world")
        verifier = by_issuer.get(_claimed_issuer(token))
        if verifier is None:
            raise TokenRefused(Close.TOKEN_INVALID, "token_issuer", "this world does not know the token's issuer")
        return verifier.verify(token, unix_s())

    return authenticate


def _claimed_issuer(token: str) -> str:
    """The issuer that the token names; nothing is proved yet. Raises TokenRefused."""
    try:
        if len(token) > TOKEN_BYTES_MAX:
            raise ValueError("too long")
        claims = json.loads(extract_compact(token.encode("ascii")).payload)
        return str(claims["iss"])
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise TokenRefused(Close.TOKEN_INVALID, "token_malformed", "the token is not a well-formed JWT") from None
