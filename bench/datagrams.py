"""``python -m bench.datagrams``: what one datagram costs the gateway's transport, in parts, beside a WebSocket frame
of the same content: in the clear (ws), and as private as the datagram is (wss: TLS that ends in the gateway).

One thread is measured, by its own CPU time, in a quiet process; clients are sockets of the same process, which are
fed and emptied outside of what is measured. Loopback: what a network card's driver adds is not in here, on neither
side; what the kernel does on loopback for the receiver is in both. Not responsible for: what is encoded
(``bench.kernels``), loss.
"""

import argparse
import asyncio
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import cast

import numpy as np
import numpy.typing as npt
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from rich.console import Console
from rich.table import Table

from protocol.datagrams import KIND_MESSAGE, KIND_OPENING, binding, plaintext, seal
from protocol.layouts import COMMAND
from protocol.messages import Input, encode_client
from protocol.wsframe import frame
from server.transport.carriers import Carriers
from server.transport.config import CarrierConfig, raise_nofile
from server.transport.datagrams.config import DatagramConfig
from server.transport.datagrams.live import UdpWay
from server.transport.datagrams.transport import Datagrams
from server.transport.link import Link

SINKS = 16
BUFFER_BYTES = 64 << 20
COMMANDS = np.zeros(3, COMMAND).tobytes()
Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int64]]


class Parts:
    """CPU seconds of named parts, for each round."""

    def __init__(self) -> None:
        self.rounds: dict[str, list[float]] = {}

    def timed(self, name: str, call: Callable[[], object]) -> None:
        """Run ``call`` and add what it took."""
        begun = time.thread_time_ns()
        call()
        self.rounds.setdefault(name, []).append((time.thread_time_ns() - begun) / 1e3)

    def us(self, name: str, count: int) -> float:
        """Median of the rounds, microseconds for each of ``count``."""
        return median(self.rounds[name]) / count


class Wrapped:
    """Adds up the CPU of one method while the benchmark runs, by standing in its place."""

    def __init__(self, owner: object, name: str) -> None:
        self._call = getattr(owner, name)
        self.us = 0.0
        setattr(owner, name, self)

    def __call__(self, *args: object) -> object:
        begun = time.thread_time_ns()
        try:
            return self._call(*args)
        finally:
            self.us += (time.thread_time_ns() - begun) / 1e3


def batch_of(payload: bytes, clients: int, base: int) -> Batch:
    """One copy of ``payload`` for each client."""
    buffer = np.frombuffer(bytearray(payload * clients), np.uint8)
    sizes = np.full(clients, len(payload), np.int64)
    return buffer, np.arange(base, base + clients, dtype=np.int32), np.cumsum(sizes) - sizes, sizes


def over_udp(clients: int, value_bytes: int, rounds: int, stream_bytes: int) -> dict[str, float]:
    """Microseconds for each datagram out, and in, by part."""
    now_ms = [1_000_000]
    config = DatagramConfig(capacity=clients, buffer_bytes=BUFFER_BYTES, arrivals_max=clients, messages_per_s=1e6)
    transport = Datagrams(config, 0, clock_ms=lambda: now_ms[0])
    way = transport.way
    assert isinstance(way, UdpWay)
    address = way.sock.getsockname()
    sinks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(SINKS)]
    for sink in sinks:
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        sink.bind(("127.0.0.1", 0))
        sink.setblocking(False)
    known = []
    for k in range(clients):
        token = transport.token(k + 1)
        bind = binding(k + 1, token.number, transport.address)
        known.append((sinks[k % SINKS], token.number, bind, ChaCha20Poly1305(token.key_up)))
    received = [0] * clients

    def say(sequence: int, part: tuple[int, bytes]) -> None:
        for k, (sink, number, bind, key) in enumerate(known):
            sink.sendto(seal(key, number, sequence, bind, plaintext(received[k], [part])), address)

    say(1, (KIND_OPENING, b""))
    assert len(transport.poll(now_ms[0]).opened) == clients, "raise net.core.rmem_max: not all datagrams were held"
    values, kinds = batch_of(bytes(value_bytes), clients, 0), np.full(clients, KIND_MESSAGE, np.uint8)
    structure, reliable = batch_of(bytes(stream_bytes), clients, 0), np.ones(clients, np.uint8)
    parts = Parts()
    seals, calls = Wrapped(way.sealing, "seal"), Wrapped(way.wire, "send")
    opens, takes = Wrapped(way.opening, "unseal"), Wrapped(way.wire, "receive")
    said = Input(1, 1, 1, COMMANDS, 2**64 - 1)
    for turn in range(rounds + 3):
        if turn == 3:
            parts = Parts()
        now_ms[0] += 50
        for one in (seals, calls, opens, takes):
            one.us = 0.0
        if stream_bytes:
            parts.timed("append", lambda: transport.send(*structure, reliable))
        parts.timed("write, seal, send", lambda: transport.send(*values, kinds))
        parts.timed("flush", transport.flush)
        parts.rounds.setdefault("seal", []).append(seals.us)
        parts.rounds.setdefault("sendmmsg", []).append(calls.us)
        for sink in sinks:
            drain(sink)
        if stream_bytes:
            received[:] = (transport.rows["out_sent"] & 0xFFFFFFFF).tolist()
        say(turn + 2, (KIND_MESSAGE, encode_client(said)))
        begun = time.thread_time_ns()
        inbound = transport.poll(now_ms[0])
        parts.rounds.setdefault("poll", []).append((time.thread_time_ns() - begun) / 1e3)
        parts.rounds.setdefault("unseal", []).append(opens.us)
        parts.rounds.setdefault("recvmmsg", []).append(takes.us)
        assert len(inbound.input_conn) == clients, "raise net.core.rmem_max: not all datagrams were held"
    transport.stop()
    for sink in sinks:
        sink.close()
    seal_us, call_us = parts.us("seal", clients), parts.us("sendmmsg", clients)
    out = parts.us("write, seal, send", clients) + parts.us("flush", clients)
    out += parts.us("append", clients) if stream_bytes else 0.0
    open_us, take_us, poll = (parts.us(name, clients) for name in ("unseal", "recvmmsg", "poll"))
    return {
        "encrypt": seal_us, "sendmmsg": call_us, "write": out - seal_us - call_us, "out": out,
        "decrypt": open_us, "recvmmsg": take_us, "parse": poll - open_us - take_us, "in": poll,
    }  # fmt: skip


def drain(sock: socket.socket) -> None:
    """Empty a socket."""
    while True:
        try:
            if not sock.recv(65_536):
                return
        except BlockingIOError:
            return


class End(asyncio.Transport):
    """Our end of a TCP connection, as far as ``Link`` needs one."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock})
        self._sock = sock

    def abort(self) -> None:
        self._sock.close()


async def over_websocket(clients: int, value_bytes: int, rounds: int) -> dict[str, float]:
    """Microseconds for each frame out, and in, on TCP connections of loopback."""
    raise_nofile(2 * clients)
    config = CarrierConfig(capacity=clients, message_burst=1_000_000, messages_per_s=1e6)
    carriers = Carriers(config)
    sinks = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        for _ in range(clients):
            theirs = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
            for sock in (ours, theirs):
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            carriers.adopt(Link(End(ours), "127.0.0.1", tls=False))
            sinks.append(theirs)
    values = batch_of(frame(bytes(value_bytes)), clients, 0)
    message = encode_client(Input(1, 1, 1, COMMANDS))
    masked = bytes([0x82, 0x80 | len(message), 0, 0, 0, 0]) + message
    parts = Parts()
    carriers.poll(time.monotonic_ns() // 1_000_000)
    for turn in range(rounds + 3):
        if turn == 3:
            parts = Parts()
        parts.timed("out", lambda: carriers.send(*values))
        for sink in sinks:
            sink.recv(65_536)
            sink.send(masked)
        begun = time.thread_time_ns()
        inbound = carriers.poll(time.monotonic_ns() // 1_000_000)
        parts.rounds.setdefault("in", []).append((time.thread_time_ns() - begun) / 1e3)
        assert len(inbound.input_conn) == clients
    carriers.stop()
    for sink in sinks:
        sink.close()
    return {"out": parts.us("out", clients), "in": parts.us("in", clients)}


class Secured(asyncio.Protocol):
    """Our end of a TLS connection after its upgrade: a ``Link`` in ``carriers``, as aiohttp would make it."""

    def __init__(self, carriers: Carriers) -> None:
        self._carriers = carriers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's TLS transport is one by its methods, not by its class.
        self.link = Link(cast(asyncio.Transport, transport), "127.0.0.1", tls=True)
        self._carriers.adopt(self.link)

    def data_received(self, data: bytes) -> None:
        self.link.feed_data(data)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A fresh key with a certificate for this run."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    pem = Encoding.PEM
    at = folder / "key.pem", folder / "cert.pem"
    at[0].write_bytes(key.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption()))
    at[1].write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    return at


async def over_tls(clients: int, value_bytes: int, rounds: int) -> dict[str, float]:
    """Microseconds for each frame out, and in, on TLS connections of loopback that end in the gateway."""
    raise_nofile(2 * clients)
    carriers = Carriers(CarrierConfig(capacity=clients, message_burst=1_000_000, messages_per_s=1e6))
    with tempfile.TemporaryDirectory() as folder:
        key, cert = certificate(Path(folder))
        ours, theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context(cafile=cert)
        ours.load_cert_chain(cert, key)
    theirs.check_hostname = False
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Secured(carriers), "127.0.0.1", 0, ssl=ours, backlog=64)
    address = server.sockets[0].getsockname()
    sinks: list[ssl.SSLSocket] = []
    message = encode_client(Input(1, 1, 1, COMMANDS))
    masked = bytes([0x82, 0x80 | len(message), 0, 0, 0, 0]) + message

    def connect() -> None:
        sinks.extend(theirs.wrap_socket(socket.create_connection(address)) for _ in range(clients))

    def answer() -> None:
        for sink in sinks:
            sink.recv(65_536)
            sink.send(masked)

    await asyncio.to_thread(connect)
    assert carriers.open_count == clients
    values = batch_of(frame(bytes(value_bytes)), clients, 0)
    out, into = [], []
    carriers.poll(time.monotonic_ns() // 1_000_000)
    for _ in range(rounds):
        begun = time.thread_time_ns()
        carriers.send(*values)
        await asyncio.sleep(0)  # The loop's own buffers leave at the end of its turn.
        out.append((time.thread_time_ns() - begun) / 1e3)
        # The loop sleeps while clients read and answer in their thread, so that it takes all answers in few turns.
        answering = threading.Thread(target=answer)
        answering.start()
        answering.join()
        begun = time.thread_time_ns()
        taken = 0
        while taken < clients:
            await asyncio.sleep(0)
            taken += len(carriers.poll(time.monotonic_ns() // 1_000_000).input_conn)
        into.append((time.thread_time_ns() - begun) / 1e3)
    carriers.stop()
    server.close()
    for sink in sinks:
        sink.close()
    return {"out": median(out) / clients, "in": median(into) / clients}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.datagrams", description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    heads = ("all", "ws", "ratio", "wss", "ratio")
    out = Table("bytes", "encrypt", "sendmmsg", "write", *heads, title="Out: CPU for each message, µs")
    into = Table("decrypt", "recvmmsg", "parse", *heads, title="In: CPU for each INPUT, µs")
    measured = []

    def beside(udp: float, ws: float, tls: float) -> list[float]:
        return [udp, ws, udp / ws, tls, udp / tls]

    for value_bytes in (100, 300, 1100):
        udp = over_udp(options.clients, value_bytes, options.rounds, 0)
        ws = asyncio.run(over_websocket(options.clients, value_bytes, options.rounds))
        tls = uvloop.run(over_tls(options.clients, value_bytes, options.rounds))
        row = [udp[name] for name in ("encrypt", "sendmmsg", "write")] + beside(udp["out"], ws["out"], tls["out"])
        out.add_row(str(value_bytes), *(f"{us:.2f}" for us in row))
        measured.append(
            [udp[name] for name in ("decrypt", "recvmmsg", "parse")] + beside(udp["in"], ws["in"], tls["in"])
        )
    into.add_row(*(f"{median(column):.2f}" for column in zip(*measured, strict=True)))
    streamed = over_udp(options.clients, 300, options.rounds, 200)
    row = [streamed[name] for name in ("encrypt", "sendmmsg", "write", "out")]
    out.add_row("300 + 200 of the stream", *(f"{us:.2f}" for us in row), "", "", "", "")
    console = Console()
    console.print(f"{options.clients} clients, median of {options.rounds} rounds")
    console.print(out)
    console.print(into)


if __name__ == "__main__":
    main()
