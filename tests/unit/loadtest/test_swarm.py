"""The swarm's command line, and what it makes of what its program says."""

import json
import resource
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from loadtest.swarm.__main__ import UsageError, check, host_and_port, main, parser, tokens_of
from loadtest.swarm.build import BuildError, compile_c
from loadtest.swarm.figures import Figures, figures_of

READY: dict[str, Any] = {"event": "ready", "joined": 2, "dead": 0, "seconds": 0.5, "slowest_join_s": 0.1, "reasons": {}}
ENDED: dict[str, Any] = {
    "event": "ended", "seconds": 2.0, "joined": 2, "dead": 0, "bytes": 4000, "messages": 90, "frames": 80, "skipped": 0,
    "keyframes": 0, "frames_per_s_p5": 19.0, "frames_per_s_p50": 20.0, "gap_p50_s": 0.06, "gap_max_s": 0.07,
    "inputs": 40, "acks": 0, "turns_late": 0, "input_wire_bytes": 33, "short_sends": 0, "delay_p50_s": 0.001,
    "delay_p99_s": 0.002, "delay_p999_s": 0.003, "delay_max_s": 0.004, "trip_p50_s": 0.05, "trip_p99_s": 0.06,
    "trip_p999_s": 0.06, "cpu_s": 0.1, "reasons": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("http://127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("ws://world.example:81/ws", ("world.example", 81)),
        ("localhost:8080", ("localhost", 8080)),
        ("http://world.example/", ("world.example", 80)),
        ("http://[::1]:8080", ("::1", 8080)),
    ],
)
def test_addresses(address: str, where: tuple[str, int]) -> None:
    assert host_and_port(address) == where


@pytest.mark.parametrize("address", ["https://w.example", "wss://w.example/ws", "ftp://w", "http://", "w:99999", "w:x"])
def test_addresses_that_cannot_be(address: str) -> None:
    with pytest.raises(UsageError):
        host_and_port(address)


@pytest.mark.parametrize(
    "options",
    [
        ["--clients", "0"],
        ["--clients", "-5"],
        ["--clients", "5", "--seconds", "0"],
        ["--clients", "5", "--joins-per-s", "0"],
        ["--clients", "5", "--clients-per-socket", "0"],
        ["--clients", "5", "--settle", "-1"],
        ["--clients", "5", "--inputs-per-s", "51"],
        ["--clients", "5", "--profile", "tv", "--transport", "udp"],
    ],
)
def test_arguments_that_cannot_be(options: list[str]) -> None:
    with pytest.raises(UsageError):
        check(parser().parse_args(["--address", "w:1", *options]))


def test_more_connections_than_open_files_are_told_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 1024))
    given = parser().parse_args(["--address", "w:1", "--clients", "1000"])
    with pytest.raises(UsageError, match="ulimit"):
        check(given)
    given.transport = "udp"  # whose clients share sockets
    check(given)


def test_help_says_what_is_not_checked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "does NOT check whether what the server says is true" in capsys.readouterr().out


def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody answers
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["--address", address, "--clients", "3"]) == 2
    assert f"no server answers at http://{address}" in capsys.readouterr().err.replace("\n", "")


def test_tokens_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("one\ntwo\n\nthree\n")
    given = parser().parse_args(["--address", "w:1", "--clients", "2", "--token-file", str(path)])
    assert tokens_of(given, "w", 1, ["a", "b"]) == ["one", "two"]
    with pytest.raises(UsageError, match="3 tokens for 4 clients"):
        tokens_of(given, "w", 1, list("abcd"))
    given.token_file = tmp_path / "none"
    with pytest.raises(UsageError, match="none"):
        tokens_of(given, "w", 1, ["a"])


def told(ready: dict[str, Any] | None = None, ended: dict[str, Any] | None = None) -> Figures:
    return figures_of("websocket", "desktop", 2, READY | (ready or {}), ENDED | (ended or {}))


def test_figures_are_per_client_and_second() -> None:
    figures = told()
    assert (figures.frames_per_s_client, figures.inputs_per_s_client, figures.bytes_per_s_client) == (20, 10, 1000)
    assert figures.swarm_cpu == 0.05
    assert figures.complete


@pytest.mark.parametrize(
    ("ready", "ended"),
    [({"joined": 1}, {}), ({}, {"dead": 1}), ({}, {"turns_late": 1}), ({}, {"cpu_s": 1.95})],
)
def test_a_run_is_not_complete(ready: dict[str, Any], ended: dict[str, Any]) -> None:
    assert not told(ready, ended).complete


def test_what_does_not_compile_is_told(tmp_path: Path) -> None:
    source = tmp_path / "wrong.c"
    source.write_text('#include "nowhere.h"\n')
    with pytest.raises(BuildError, match="libssl-dev"):
        compile_c(tmp_path / "wrong", [source], [])
    assert not (tmp_path / "wrong").exists()


def test_figures_are_json() -> None:
    assert json.loads(json.dumps(asdict(told())))["joined"] == 2
