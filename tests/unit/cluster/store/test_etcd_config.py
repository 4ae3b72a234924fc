"""Configurations that cannot work are refused, with what to write instead."""

from pathlib import Path
from typing import Any

import pytest
import trustme

from cluster.store.etcd_config import EtcdConfig

URL = "https://etcd.example.org:2379"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"endpoints": ()}, "at least one URL"),
        ({"endpoints": ("etcd:2379",)}, "write it as http"),
        ({"endpoints": ("https://user:secret@etcd:2379",)}, "user and password apart"),
        ({"endpoints": (URL, "http://etcd:2379")}, "all http:// or all https://"),
        ({"namespace": "isthmus"}, "begins and ends with /"),
        ({"namespace": "/"}, "begins and ends with /"),
        ({"user": "a"}, "both or none"),
        ({"cert": Path("a.pem")}, "both files or none"),
        ({"endpoints": ("http://etcd:2379",), "ca": Path("ca.pem")}, "need https"),
        ({"attempt_timeout_s": float("inf")}, "attempt_timeout_s: a finite time"),
        ({"retry_min_s": 2.0}, "retry_max_s"),
    ],
)
def test_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EtcdConfig(**{"endpoints": (URL,), "namespace": "/isthmus/w/"} | fields)


def test_files_are_named_when_they_cannot_be_used(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca, nonsense = tmp_path / "ca.pem", tmp_path / "nonsense.pem"
    authority.cert_pem.write_to_path(str(ca))
    nonsense.write_text("nonsense")
    good = EtcdConfig(endpoints=(URL,), namespace="/isthmus/w/", ca=ca)
    assert good.ssl_context() is not None
    with pytest.raises(ValueError, match=r"ca .*nonsense\.pem"):
        EtcdConfig(endpoints=(URL,), namespace="/isthmus/w/", ca=nonsense).ssl_context()
    missing = tmp_path / "missing.pem"
    with pytest.raises(ValueError, match=r"cert .*missing\.pem"):
        EtcdConfig(endpoints=(URL,), namespace="/isthmus/w/", cert=missing, key=missing).ssl_context()


def test_a_password_is_not_printed() -> None:
    assert "hidden" not in repr(EtcdConfig(endpoints=(URL,), namespace="/w/", user="a", password="hidden"))
