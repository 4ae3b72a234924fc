"""Bounds of the transport's configuration and the descriptor limit."""

import resource

import pytest

from server.transport.config import CarrierConfig, raise_nofile


@pytest.mark.parametrize(
    "wrong", [{"rx_bytes": 4096}, {"tx_bytes": 32_768}, {"capacity": 0}, {"messages_per_s": 0.0}, {"message_burst": 0}]
)
def test_bounds_that_contradict_each_other(wrong: dict[str, int]) -> None:
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
