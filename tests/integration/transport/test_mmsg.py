"""sendmmsg and recvmmsg on real sockets, and the plain calls beside them: the same datagrams, addresses, counts of
errors."""

import errno
import select
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from kernels.peers import Rows, make_rows
from server.transport import mmsg
from server.transport.datagrams import plain
from server.transport.datagrams.sockets import Wire, address_text, open_socket, remote_text

FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


def bound(host: str) -> socket.socket:
    return open_socket(host, 0, 1 << 20)


def fill(rows: Rows, datagrams: list[bytes], to: socket.socket | None) -> None:
    """Rows that hold ``datagrams``, all to the address of ``to``."""
    packed = b"" if to is None else plain.pack_address(to.family, to.getsockname())
    for i, datagram in enumerate(datagrams):
        rows.wire[i, : len(datagram)] = np.frombuffer(datagram, np.uint8)
        rows.wire_bytes[i] = len(datagram)
        rows.address[i, : len(packed)] = bytearray(packed)
        rows.address_bytes[i] = len(packed)


def wait(sock: socket.socket) -> None:
    assert select.select([sock], [], [], 5.0)[0], "nothing came"


@pytest.fixture(params=[True, False], ids=["batched", "plain"])
def batched(request: pytest.FixtureRequest) -> bool:
    if request.param:
        assert mmsg.is_available(), "this system has no sendmmsg(2)"
    return bool(request.param)


@pytest.fixture(params=FAMILIES, ids=["IPv4", "IPv6"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    host = request.param[1]
    with bound(host) as one, bound(host) as other:
        assert one.family == request.param[0]
        yield one, other


def test_many_go_and_come_with_their_addresses(pair: tuple[socket.socket, socket.socket], batched: bool) -> None:
    ours, theirs = pair
    arrivals, departures = make_rows(300), make_rows(300)
    sending, receiving = Wire(ours, arrivals, departures, batched), Wire(theirs, arrivals, departures, batched)
    said = [bytes([k % 256]) * (1 + 4 * k) for k in range(300)]
    fill(departures, said, theirs)
    assert sending.send(300) == 300
    wait(theirs)
    assert receiving.receive(0) == 300
    for i, datagram in enumerate(said):
        assert arrivals.wire[i, : arrivals.wire_bytes[i]].tobytes() == datagram
        assert plain.unpack_address(arrivals.address[i, : arrivals.address_bytes[i]].tobytes()) == ours.getsockname()
    assert sending.sent[mmsg.C_DATAGRAMS] == receiving.received[mmsg.C_DATAGRAMS] == 300
    assert sending.sent[mmsg.C_BYTES] == receiving.received[mmsg.C_BYTES] == sum(map(len, said))
    assert sending.sent[mmsg.C_CALLS] == (1 if batched else 300)
    assert remote_text(arrivals.address[0, : arrivals.address_bytes[0]].tobytes()) == ours.getsockname()[0]
    assert str(ours.getsockname()[1]) in address_text(ours)


def test_what_has_no_room_waits_in_the_socket(batched: bool) -> None:
    with bound("127.0.0.1") as ours, bound("127.0.0.1") as theirs:
        arrivals, departures = make_rows(4), make_rows(10)
        wire = Wire(theirs, arrivals, departures, batched)
        fill(departures, [bytes([k]) for k in range(10)], theirs)
        assert Wire(ours, arrivals, departures, batched).send(10) == 10
        wait(theirs)
        assert wire.receive(0) == 4
        assert wire.receive(4) == 4
        assert wire.receive(2) == 4
        assert arrivals.wire[:, 0].tolist() == [0, 1, 4, 5]


def test_a_datagram_that_was_cut_is_longer_than_any_may_be(batched: bool) -> None:
    with bound("127.0.0.1") as ours, bound("127.0.0.1") as theirs:
        ours.sendto(bytes(3000), theirs.getsockname())
        arrivals = make_rows(2)
        wait(theirs)
        assert Wire(theirs, arrivals, make_rows(1), batched).receive(0) == 1
        assert arrivals.wire_bytes[0] > 1200


def test_a_full_socket_ends_the_call_and_the_rest_is_counted(batched: bool) -> None:
    # A Unix socket's queue is bounded by what its reader has not read: it is the one that fills up on every machine.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        departures = make_rows(1000)
        fill(departures, [bytes(1000)] * 1000, None)
        wire = Wire(ours, make_rows(1), departures, batched)
        sent = wire.send(1000)
        assert 0 < sent < 1000
        assert wire.sent[mmsg.C_BLOCKED] == 1000 - sent
        assert wire.send(1000) == 0
        assert len(theirs.recv(2000)) == 1000


def test_one_that_is_too_large_costs_itself_alone(batched: bool) -> None:
    with bound("127.0.0.1") as ours, bound("127.0.0.1") as theirs:
        departures = make_rows(3)
        # Stands for a path that takes less than a datagram: the call says the same of more than UDP can hold.
        big = make_rows(1)._replace(wire=np.zeros((3, 70_000), np.uint8))
        rows = departures._replace(wire=big.wire)
        fill(rows, [b"a", b"b", b"c"], theirs)
        rows.wire_bytes[1] = 70_000
        wire = Wire(ours, make_rows(1), rows, batched)
        assert wire.send(3) == 2
        assert wire.sent[mmsg.C_TOO_BIG] == 1
        wait(theirs)
        assert [theirs.recv(10) for _ in range(2)] == [b"a", b"c"]


def test_a_network_that_does_not_exist_costs_only_its_own(batched: bool) -> None:
    with bound("127.0.0.1") as ours, bound("127.0.0.1") as theirs:
        departures = make_rows(3)
        fill(departures, [b"a", b"b", b"c"], theirs)
        departures.address[1, 2:8] = bytearray(b"\0\7\xff\xff\xff\xff")  # broadcast, which nobody has allowed
        wire = Wire(ours, make_rows(1), departures, batched)
        assert wire.send(3) == 2
        assert wire.sent[mmsg.C_FAILED] == 1


def test_a_port_where_nobody_listens_is_counted_and_stops_nothing(batched: bool) -> None:
    with bound("127.0.0.1") as ours, bound("127.0.0.1") as gone, bound("127.0.0.1") as theirs:
        address = gone.getsockname()
        gone.close()
        ours.connect(address)  # who is not connected is told nothing of it on Linux
        departures = make_rows(4)
        fill(departures, [b"x"], None)
        wire = Wire(ours, make_rows(4), departures, batched)
        assert wire.send(1) == 1
        fill(departures, [b"a", b"b", b"c", b"d"], theirs)
        assert wire.send(4) == 4
        assert wire.sent[mmsg.C_REFUSED] == 1
        wait(theirs)
        assert sorted(theirs.recv(10) for _ in range(4)) == [b"a", b"b", b"c", b"d"]
        fill(departures, [b"x"], None)
        wire.send(1)
        assert wire.receive(0) == 0
        assert wire.received[mmsg.C_REFUSED] == 1
        with pytest.raises(BlockingIOError) as ended:
            ours.recv(10)
        assert ended.value.errno == errno.EAGAIN


def test_an_address_that_is_taken_is_an_error_at_once() -> None:
    with bound("127.0.0.1") as ours, pytest.raises(OSError, match="in use") as refused:
        open_socket("127.0.0.1", ours.getsockname()[1], 1 << 16)
    assert refused.value.errno == errno.EADDRINUSE


def test_one_socket_takes_both_families() -> None:
    with bound("::") as ours, bound("127.0.0.1") as theirs:
        theirs.sendto(b"four", ("127.0.0.1", ours.getsockname()[1]))
        wait(ours)
        arrivals = make_rows(1)
        assert Wire(ours, arrivals, make_rows(1)).receive(0) == 1
        assert remote_text(arrivals.address[0, : arrivals.address_bytes[0]].tobytes()) == "127.0.0.1"
