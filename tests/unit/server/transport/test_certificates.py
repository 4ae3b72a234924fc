"""What a gateway shows over QUIC, and the hashes that it tells of it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec

from server.transport.webtransport.certificates import Generated, Own
from server.transport.webtransport.config import WebTransportConfig


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def test_a_generated_one_is_what_browsers_take_by_its_hash() -> None:
    clock = Clock()
    shown = Generated(clock).shown()
    certificate = shown.certificate
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= timedelta(days=14)
    assert certificate.not_valid_before_utc <= clock.now - timedelta(hours=12)
    assert len(shown.sha256) == 32


def test_what_is_shown_was_told_before_and_is_valid_for_days() -> None:
    clock = Clock()
    certificates = Generated(clock)
    seen = set()
    for _ in range(24 * 40):
        told = certificates.told()
        clock.now += timedelta(hours=1)
        shown = certificates.shown()
        assert shown.sha256 in told
        assert shown.certificate.not_valid_after_utc - clock.now > timedelta(days=5)
        seen.add(shown.sha256)
    assert len(seen) >= 10


def test_the_operators_own_is_read_and_has_no_hash_to_tell(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("world.example")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    own = Own(chain, key)
    assert own.told() == ()
    assert own.shown().certificate.public_key() == own.shown().key.public_key()
    with pytest.raises(ValueError, match=r"key\.pem: no PEM file of certificates"):
        Own(key, key)
    with pytest.raises(ValueError, match=r"chain\.pem: no PEM file of an unencrypted private key"):
        Own(chain, chain)
    with pytest.raises(OSError, match="missing"):
        Own(tmp_path / "missing.pem", key)


@pytest.mark.parametrize("wrong", [{"handshakes_max": 0}, {"waiting_max": 0}, {"proof_s": 0.0}, {"idle_s": -1.0}])
def test_limits_are_positive(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        WebTransportConfig(**wrong)  # type: ignore[arg-type]
