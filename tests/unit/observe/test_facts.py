"""Facts of a process that its figures tell: memory that it may have, certificates that run out, its address."""

import datetime
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from isthmus.config import Config
from isthmus.config.model import Cluster, Gateway
from isthmus.observe.certificates import ends_of
from isthmus.observe.cgroup import limit_bytes
from isthmus.observe.observed import listen_address


def groups(tmp_path: Path, membership: str, limits: dict[str, str]) -> tuple[Path, Path]:
    root = tmp_path / "cgroup"
    for place, text in limits.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text)
    (tmp_path / "membership").write_text(membership)
    return tmp_path / "membership", root


@pytest.mark.parametrize(
    ("membership", "limits", "expected"),
    [
        ("0::/pods/one\n", {"pods/one/memory.max": "2000\n", "pods/memory.max": "9000\n"}, 2000),
        ("0::/pods/one\n", {"pods/one/memory.max": "max\n", "pods/memory.max": "9000\n"}, 9000),
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/pods/one\n", {}, None),
        ("3:cpu:/a\n4:memory:/a\n", {"memory/a/memory.limit_in_bytes": "512\n"}, 512),
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": "9223372036854771712\n"}, None),
    ],
)
def test_the_smallest_limit_counts(
    tmp_path: Path, membership: str, limits: dict[str, str], expected: int | None
) -> None:
    assert limit_bytes(*groups(tmp_path, membership, limits)) == expected


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert limit_bytes(tmp_path / "nothing", tmp_path) is None


def test_certificates_tell_when_they_end(tmp_path: Path) -> None:
    ends = datetime.datetime(2031, 5, 6, tzinfo=datetime.UTC)
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", not_after=ends)
    issued.cert_chain_pems[0].write_to_path(tmp_path / "page.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "broken.pem").write_text("nothing of the sort")
    config = replace(
        Config(),
        folder=str(tmp_path),
        gateway=Gateway(tls_cert_path="page.pem"),
        cluster=Cluster(link_ca_path="ca.pem", etcd_ca_path="broken.pem", etcd_cert_path="missing.pem"),
    )
    found = ends_of(config)
    assert set(found) == {"page", "links_authority"}
    assert found["page"] == ends.timestamp()


def test_addresses_are_host_and_port() -> None:
    assert listen_address("127.0.0.1:9464") == ("127.0.0.1", 9464)
    assert listen_address("[::1]:0") == ("::1", 0)
    for wrong in ("9464", "host:", "host:70000", "host:a"):
        with pytest.raises(ValueError, match="host:port"):
            listen_address(wrong)
