"""Host, Origin and forwarded addresses."""

import pytest

from server.http.guard import Guard, split_host


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("LOCALHOST:8080", True),
        ("127.0.0.1:80", True),
        ("[::1]:9", True),
        ("world.example.", True),
        ("0.0.0.0", False),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("evil@localhost", False),
        ("localhost:99999", False),
        ("localhost/x", False),
        ("[::1", False),
        ("", False),
        (None, False),
    ],
)
def test_host(host: str | None, allowed: bool) -> None:
    assert Guard.of(["World.example"]).host_allowed(host) is allowed


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "localhost", True),
        ("http://localhost:8080", "localhost:8080", True),
        ("https://world.example", "world.example", True),
        ("https://world.example", "world.example:443", True),
        ("http://localhost:5173", "localhost:8080", False),
        ("https://friend.example", "localhost:8080", True),
        ("https://friend.example:444", "localhost:8080", False),
        ("https://evil.example", "localhost", False),
        ("null", "localhost", False),
        ("", "localhost", False),
        ("file://localhost", "localhost", False),
        ("http://[", "localhost", False),
        ("http://localhost:bad", "localhost", False),
    ],
)
def test_origin(origin: str | None, host: str, allowed: bool) -> None:
    assert Guard.of(origins=["https://Friend.example/"]).origin_allowed(origin, host) is allowed


def test_forwarded_addresses_count_only_from_trusted_proxies() -> None:
    guard = Guard.of(proxies=["10.0.0.0/8", "::1"])
    assert guard.client_address("203.0.113.5", "1.2.3.4") == "203.0.113.5"
    assert guard.client_address("10.1.1.1", "6.6.6.6, 1.2.3.4, 10.2.2.2") == "1.2.3.4"
    assert guard.client_address("::1", None) == "::1"
    assert guard.client_address(None, None) == "unknown"


def test_wrong_configuration_is_named() -> None:
    with pytest.raises(ValueError, match="friend"):
        Guard.of(origins=["friend.example"])
    with pytest.raises(ValueError, match=r"10\.0\.0"):
        Guard.of(proxies=["10.0.0"])
    assert split_host("a:b") is None
