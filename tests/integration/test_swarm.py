"""The swarm against a real server: over WebSocket, over UDP, over a UDP that loses, as televisions."""

import json
import random
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.integration.server import REPOSITORY, Server, serving, write_world

CLIENTS = 30
TOML = """
[gateway]
datagrams = true
datagrams_port = 0

[limits]
sessions_max = 200
connections_per_address_max = 200
joins_per_s = 1000
admission_load_ratio = 1.0

[[channel]]
name = "pond"
title = "The pond"
camera = "fixed"
radius_m = 60
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(write_world(tmp_path_factory.mktemp("swarm"), TOML, ducks=20)) as started:
        yield started


def swarm(address: str, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "loadtest.swarm", "--address", address, "--clients", str(CLIENTS), *options]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=90)


def measured(server: Server, *options: str) -> dict[str, Any]:
    """Figures of a run of two seconds in which all went well, but for what the machine did to its pace."""
    result = swarm(server.url, "--seconds", "2", "--settle", "0.5", "--json", *options)
    assert result.returncode in (0, 1), result.stderr
    figures: dict[str, Any] = json.loads(result.stdout)
    assert figures["joined"] == CLIENTS, result.stderr
    assert figures["lost"] == 0, result.stderr
    assert figures["reasons"] == {}
    assert "clients" in result.stderr, "the table goes to stderr"
    return figures


def test_over_websocket_all_get_frames_and_inputs_are_taken(server: Server) -> None:
    before = server.metric("isthmus_inputs_total")
    figures = measured(server, "--transport", "websocket")
    assert figures["frames_per_s_p5"] > 5
    assert figures["skipped"] == 0
    assert figures["bytes_per_s_client"] > 0
    assert figures["datagrams"] is None
    assert server.metric("isthmus_inputs_total") - before > CLIENTS * 10
    assert figures["trip_p50_s"] > 0


def test_over_udp_all_get_values_and_all_is_acknowledged(server: Server) -> None:
    inputs, sent = server.metric("isthmus_inputs_total"), server.metric("isthmus_datagrams_sent_total")
    streamed = server.metric("isthmus_datagram_stream_bytes_total")
    figures = measured(server, "--transport", "udp", "--clients-per-socket", "7")
    datagrams = figures["datagrams"]
    assert figures["frames_per_s_p5"] > 5
    assert datagrams["received"] > CLIENTS * 10
    assert datagrams["unread"] == 0
    assert datagrams["repeated"] == 0
    assert server.metric("isthmus_inputs_total") - inputs > CLIENTS * 10
    assert server.metric("isthmus_datagrams_sent_total") - sent >= datagrams["received"]
    assert server.metric("isthmus_datagram_stream_bytes_total") > streamed
    for reason in ("not_sealed", "replayed", "segment_ahead", "version"):
        assert server.metric("isthmus_datagrams_dropped_total", reason=reason) == 0
    # Whoever acknowledges nothing gets no frames after a while (STANDARD.md §5): that they came is shown above.


def test_televisions_miss_no_frame(server: Server) -> None:
    figures = measured(server, "--profile", "tv")
    assert figures["frames_per_s_client"] > 1
    assert figures["inputs_per_s_client"] == 0


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def bad_wire(near: socket.socket, server_port: int) -> Iterator[None]:
    """Carries datagrams between ``near`` and a server: loses a tenth each way, repeats some, holds some back."""
    draw, ends = random.Random(7), threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.connect(("127.0.0.1", server_port))

        def carry() -> None:
            client: tuple[str, int] | None = None
            held: list[tuple[socket.socket, bytes]] = []
            while not ends.is_set():
                for sock in select.select([near, far], [], [], 0.05)[0]:
                    data, sender = sock.recvfrom(2048)
                    client = sender if sock is near else client
                    chance = draw.random()
                    if chance < 0.1:
                        continue
                    held.append((sock, data))
                    if chance < 0.15:
                        held.append((sock, data))
                    if chance > 0.9 and len(held) < 20:
                        continue
                    for came, each in reversed(held):
                        if came is near:
                            far.send(each)
                        elif client is not None:
                            near.sendto(each, client)
                    held.clear()

        thread = threading.Thread(target=carry)
        thread.start()
        try:
            yield
        finally:
            ends.set()
            thread.join()


def test_over_a_wire_that_loses_the_stream_is_put_together_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    port = free_udp_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
        near.bind(("127.0.0.1", 0))
        advertised = f'advertise_udp = "127.0.0.1:{near.getsockname()[1]}"'
        toml = TOML.replace("datagrams_port = 0", f"datagrams_port = {port}\n{advertised}")
        with serving(write_world(tmp_path_factory.mktemp("lossy"), toml, ducks=20)) as server, bad_wire(near, port):
            figures = measured(server, "--transport", "udp")
            assert server.metric("isthmus_datagram_resent_bytes_total") > 0
    datagrams = figures["datagrams"]
    assert datagrams["lost"] > 0
    assert datagrams["repeated"] > 0
    assert figures["skipped"] > 0
    # All of the stream came in the end: a structure message that is missing loses its client.
    assert figures["frames_per_s_client"] > 5


def test_datagrams_that_are_not_offered_are_a_reason(tmp_path_factory: pytest.TempPathFactory) -> None:
    toml = TOML.replace("datagrams = true\n", "").replace("datagrams_port = 0\n", "")
    with serving(write_world(tmp_path_factory.mktemp("none"), toml)) as server:
        result = swarm(server.url, "--transport", "udp")
    assert result.returncode == 2
    assert "nobody came in: no datagrams: " in result.stderr
