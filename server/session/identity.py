"""Who somebody is, as proved by a token, and how a proof fails.

Invariant: nothing here holds, prints or compares a token itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

from protocol.codes import Close


@dataclass(frozen=True, slots=True)
class Identity:
    """(issuer, subject) names a person or machine (RFC 7519 §4.1.1, §4.1.2); ``name`` is vouched for by the issuer."""

    issuer: str
    subject: str
    name: str | None = None
    roles: frozenset[str] = frozenset()
    guest: bool = False


class TokenRefused(Exception):
    """A token proves nothing here. ``code`` is 4200, 4201 or 4202; ``reason`` a stable word for metrics; never the
    token."""

    def __init__(self, code: Close, reason: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason
        self.text = text


class KeyUnknown(Exception):
    """The token names a key that the current set lacks: it may have been rotated, so the set should be fetched anew,
    once."""


Authenticate = Callable[[str | None], Identity]
"""Maps HELLO's token (None: there was none) to an identity. Raises TokenRefused or KeyUnknown."""
