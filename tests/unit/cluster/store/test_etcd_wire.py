"""The gateway's JSON: what is sent, what is read, what a refusal means."""

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from cluster.store import etcd_wire as wire
from cluster.store.contract import Delete, DeletePrefix, KeyAbsent, Put, RevisionIs, Transaction, ValueIs
from cluster.store.etcd_wire import EtcdProblem, ProblemKind


def test_a_transaction_as_etcd_reads_it() -> None:
    transaction = Transaction(
        (KeyAbsent("a"), RevisionIs("b", 2**62), ValueIs("a", b"\xff")),
        (Put("a", b"1", 2**62 + 1), Delete("c")),
        (DeletePrefix("d/"),),
    )
    assert msgspec.json.decode(wire.encode_transaction(b"/n/", transaction)) == {
        "compare": [
            {"key": "L24vYQ==", "result": "EQUAL", "target": "CREATE", "create_revision": "0"},
            {"key": "L24vYg==", "result": "EQUAL", "target": "MOD", "mod_revision": str(2**62)},
            {"key": "L24vYQ==", "result": "EQUAL", "target": "VALUE", "value": "/w=="},
        ],
        "success": [
            {"request_put": {"key": "L24vYQ==", "value": "MQ==", "lease": str(2**62 + 1)}},
            {"request_delete_range": {"key": "L24vYw=="}},
        ],
        "failure": [
            {"request_range": {"key": "L24vYQ=="}},
            {"request_range": {"key": "L24vYg=="}},
            {"request_delete_range": {"key": "L24vZC8=", "range_end": "L24vZDA="}},
        ],
    }


@given(prefix=st.text(min_size=1).filter(lambda text: text.isprintable()), rest=st.text(), other=st.text())
def test_a_prefix_ends_behind_all_its_keys(prefix: str, rest: str, other: str) -> None:
    start, key, stranger = prefix.encode(), (prefix + rest).encode("utf-8", "ignore"), other.encode("utf-8", "ignore")
    end = wire.prefix_end(start)
    assert start <= key < end
    assert (start <= stranger < end) == stranger.startswith(start)


@given(lines=st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=8), data=st.data())
def test_lines_come_whole_however_they_arrive(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines) + b"unfinished"
    splitter = wire.LineSplitter()
    got: list[bytes] = []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        got += splitter.feed(stream[:cut])
        stream = stream[cut:]
    assert got == [line for line in lines if line]


def test_a_line_has_a_limit() -> None:
    splitter = wire.LineSplitter(line_bytes_max=10)
    assert splitter.feed(b"123456789\n12345") == [b"123456789"]
    with pytest.raises(ValueError, match="more than 10 bytes"):
        splitter.feed(b"678901")


def test_defaults_are_left_out_and_numbers_are_strings() -> None:
    line = b"""{"result": {"header": {"cluster_id": "18446744073709551615", "revision": "7", "raft_term": "2"},
        "events": [{"kv": {"key": "YQ==", "create_revision": "6", "mod_revision": "7", "version": "2"}},
                   {"type": "DELETE", "kv": {"key": "Yg==", "mod_revision": "7"}}]}}"""
    answer = wire.decode(wire.WATCH, line).result
    assert answer is not None
    assert answer.header == wire.Header(2**64 - 1, 7)
    assert [(event.type, event.kv.key, event.kv.mod_revision) for event in answer.events] == [
        ("PUT", b"a", 7),
        ("DELETE", b"b", 7),
    ]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"header": {"revision": "much"}}'])
def test_an_answer_of_something_else_is_told(body: bytes) -> None:
    with pytest.raises(EtcdProblem, match="gateway does not give") as caught:
        wire.decode(wire.TRANSACTION, body)
    assert caught.value.kind is ProblemKind.UNCERTAIN


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (401, '{"error":"etcdserver: invalid auth token","code":16}', ProblemKind.TOKEN, "token"),
        (400, '{"error":"etcdserver: user name is empty","code":3}', ProblemKind.TOKEN, "name"),
        (400, '{"error":"etcdserver: revision of auth store is old","code":3}', ProblemKind.TOKEN, "old"),
        (404, '{"message":"etcdserver: requested lease not found","code":5}', ProblemKind.LEASE, "lease"),
        (
            400,
            '{"error":"etcdserver: mvcc: required revision has been compacted","code":11}',
            ProblemKind.COMPACTED,
            "",
        ),
        (429, '{"error":"etcdserver: too many requests","code":8}', ProblemKind.NOT_NOW, ""),
        (503, '{"error":"etcdserver: no leader","code":14}', ProblemKind.NOT_NOW, ""),
        (503, '{"error":"etcdserver: request timed out","code":14}', ProblemKind.UNCERTAIN, "timed out"),
        (503, '{"error":"etcdserver: leader changed","code":14}', ProblemKind.UNCERTAIN, "leader"),
        (500, '{"error":"raft proposal dropped","code":2}', ProblemKind.UNCERTAIN, "dropped"),
        (429, '{"error":"etcdserver: mvcc: database space exceeded","code":8}', ProblemKind.REFUSED, "alarm disarm"),
        (403, '{"error":"etcdserver: permission denied","code":7}', ProblemKind.REFUSED, "grant-permission"),
        (400, '{"error":"etcdserver: request is too large","code":3}', ProblemKind.REFUSED, "max-request-bytes"),
        (404, "404 page not found\n", ProblemKind.REFUSED, "enable-grpc-gateway"),
        (400, "CommonName of client sending a request against gateway", ProblemKind.REFUSED, "one without"),
        (400, "Client sent an HTTP request to an HTTPS server.\n", ProblemKind.REFUSED, "client URL"),
        (502, "<html>bad gateway</html>", ProblemKind.UNCERTAIN, "502"),
        (500, "{}", ProblemKind.UNCERTAIN, "without a message"),
    ],
)
def test_refusals(status: int, body: str, kind: ProblemKind, text: str) -> None:
    problem = wire.judge(status, body.encode())
    assert problem.kind is kind
    assert text in problem.text
