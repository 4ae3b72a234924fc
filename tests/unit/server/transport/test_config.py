"""Bounds of the transport's configuration and the descriptor limit."""

import resource
from typing import Any

import pytest

from server.transport.config import CarrierConfig, raise_nofile
from server.transport.datagrams.config import DatagramConfig


@pytest.mark.parametrize(
    "wrong", [{"rx_bytes": 4096}, {"tx_bytes": 32_768}, {"capacity": 0}, {"messages_per_s": 0.0}, {"message_burst": 0}]
)
def test_bounds_that_contradict_each_other(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CarrierConfig(**wrong)


def test_nofile(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [1024, 5000]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.__setitem__(slice(None), list(pair)))
    assert raise_nofile(100) == 1024
    assert raise_nofile(2000) == 2256
    assert limits == [2256, 5000]
    with pytest.raises(OSError, match="capacity to 4744"):
        raise_nofile(8192)


@pytest.mark.parametrize(
    "wrong",
    [
        {"capacity": 0}, {"capacity": 65_537}, {"post_bytes_max": 49_153}, {"arrivals_max": 0}, {"departures_max": 0},
        {"messages_per_s": 0.0}, {"message_burst": 0},
    ],
)  # fmt: skip
def test_bounds_of_datagrams(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DatagramConfig(**wrong)
