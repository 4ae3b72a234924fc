"""Who is an operator: by a secret of a file, or by a token with the operators' role.

Decides what an Authorization header proves. Invariants: secrets are compared in constant time, and each with all; only
the header is looked at, never a URL or a cookie, so no page of another site can act in an operator's name; no secret or
token is in a message. Not responsible for: tokens' signatures (``server.session.tokens``).
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from server.session.identity import Authenticate, TokenRefused

SECRET_CHARS_MIN = 32
SECRETS_MAX = 1000
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who may see and act. ``name`` stands in the log; ``how``: "secret" or "token"."""

    name: str
    how: str


class Refused(Exception):
    """Not an operator. ``status`` 401: prove who you are; 403: that is no operator."""

    def __init__(self, status: int, word: str, text: str) -> None:
        super().__init__(text)
        self.status, self.word, self.text = status, word, text


def read_secrets(text: str) -> dict[str, bytes]:
    """SHA-256 of each operator's secret by name, from lines ``NAME SECRET``; empty lines and those after # are left
    out. Raises ValueError that names the line, never what is in it."""
    secrets: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or not _NAME.fullmatch(words[0]):
            raise ValueError(f"line {number}: write NAME SECRET, the name of 1 to 64 letters, digits, . _ @ or -")
        if len(words[1]) < SECRET_CHARS_MIN:
            raise ValueError(
                f"line {number}: the secret has {len(words[1])} characters, it needs {SECRET_CHARS_MIN}: make one with "
                "`openssl rand -hex 32`"
            )
        if words[0] in secrets:
            raise ValueError(f"line {number}: {words[0]} has a secret already: one name is one person")
        secrets[words[0]] = hashlib.sha256(words[1].encode()).digest()
    if not secrets or len(secrets) > SECRETS_MAX:
        raise ValueError(f"{len(secrets)} operators: give 1 to {SECRETS_MAX} lines NAME SECRET")
    return secrets


class Operators:
    """All operators of a gateway. ``secrets``: as :func:`read_secrets` gives them; ``role``: tokens with it are
    operators', ``authenticate`` tells whose they are."""

    def __init__(
        self, secrets: Mapping[str, bytes], role: str | None = None, authenticate: Authenticate | None = None
    ) -> None:
        self._secrets = dict(secrets)
        self._role, self._authenticate = role, None if role is None else authenticate

    def of(self, authorization: str | None) -> Operator:
        """Whom an Authorization header proves. Raises Refused, or KeyUnknown: fetch the key set anew and ask again."""
        scheme, _, given = (authorization or "").partition(" ")
        given = given.strip()
        if scheme.lower() != "bearer" or not given:
            raise Refused(401, "operator_unknown", "operators alone: send your secret as `Authorization: Bearer …`")
        name = self._by_secret(given)
        if name is not None:
            return Operator(name, "secret")
        if self._authenticate is not None and given.count(".") == 2:
            return self._by_token(given, self._authenticate)
        raise Refused(401, "operator_secret", "this is no operator's secret")

    def _by_secret(self, given: str) -> str | None:
        digest = hashlib.sha256(given.encode()).digest()
        found = None
        for name, known in self._secrets.items():
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def _by_token(self, token: str, authenticate: Authenticate) -> Operator:
        try:
            identity = authenticate(token)
        except TokenRefused as refusal:
            raise Refused(401, refusal.reason, refusal.text) from None
        if identity.guest or self._role not in identity.roles:
            raise Refused(403, "operator_role", f"this token is good, and does not have the role {self._role!r}")
        return Operator(identity.name or identity.subject, "token")
