"""What a gateway shows to prove who it is over QUIC: the operator's certificate, or a generated one whose hash is told.

A browser takes a certificate by its hash if its key is ECDSA on P-256 and it is good for at most 14 days (W3C
WebTransport, "custom certificate requirements"). Invariants: hashes that were told name what is shown for as long as a
token is good; keys live in memory alone. Not responsible for: telling the hash (``way``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import NameOID

VALID = timedelta(days=12)
LEEWAY = timedelta(days=1)
"""Clients' clocks are wrong by less than this; with it 13 days, of the 14 that are allowed."""
RENEWED = timedelta(days=3)
"""So long a certificate is shown. It was made when the one before was first shown: at its end it is 6 days old."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate with its key, and the chain above it."""

    certificate: x509.Certificate
    key: PrivateKeyTypes
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def sha256(self) -> bytes:
        """Of its DER."""
        return self.certificate.fingerprint(hashes.SHA256())


class Certificates(Protocol):
    """Where a gateway's certificate comes from."""

    def shown(self) -> Shown:
        """What new connections are shown from now on."""
        ...

    def told(self) -> tuple[bytes, ...]:
        """SHA-256 of what is shown for as long as a token is good; none: a browser asks its authorities."""
        ...


class Own:
    """The operator's, from PEM files. Raises OSError if they cannot be read, and ValueError, saying which one is
    wrong."""

    def __init__(self, chain: Path, key: Path) -> None:
        try:
            certificates = x509.load_pem_x509_certificates(chain.read_bytes())
        except ValueError as error:
            raise ValueError(f"{chain}: no PEM file of certificates ({error})") from error
        try:
            private = serialization.load_pem_private_key(key.read_bytes(), None)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{key}: no PEM file of an unencrypted private key ({error})") from error
        self._shown = Shown(certificates[0], private, tuple(certificates[1:]))

    def shown(self) -> Shown:
        """Always the same."""
        return self._shown

    def told(self) -> tuple[bytes, ...]:
        """None."""
        return ()


class Generated:
    """Made here, and made anew every few days; the next one is told before it is shown. ``now`` returns an aware
    time."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._present = self._next = self._make()
        self._renew_at = now()
        self._renew()

    def _renew(self) -> None:
        now = self._now()
        if now >= self._renew_at:
            self._present, self._next = self._next, self._make()
            self._renew_at = now + RENEWED

    def shown(self) -> Shown:
        """The present one."""
        self._renew()
        return self._present

    def told(self) -> tuple[bytes, ...]:
        """The present and the next one."""
        self._renew()
        return self._present.sha256, self._next.sha256

    def _make(self) -> Shown:
        key, now = ec.generate_private_key(ec.SECP256R1()), self._now()
        # Nobody looks at the name: who trusts the hash asks no more.
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "isthmus")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - LEEWAY)
            .not_valid_after(now + VALID)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        )
        return Shown(builder.sign(key, hashes.SHA256()), key)
