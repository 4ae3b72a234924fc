"""What travels to and from etcd's JSON gateway (``/v3/...``), and what its refusals mean. Pure: no I/O.

The gateway speaks protobuf's JSON mapping: 64-bit integers are strings, bytes are base64, fields with a default value
are left out. Streams (watch, keep-alive) are one JSON object per line, inside ``result`` or ``error``.
Sources: etcd's ``rpc.proto`` and ``rpctypes/error.go``, gRPC's status codes.

Not responsible for: namespaces (``etcd``), when to ask again (``etcd_http``), order of a watch (``etcd_watch``).
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

import msgspec

from cluster.store.contract import (
    Compare,
    Delete,
    DeletePrefix,
    KeyAbsent,
    Operation,
    Put,
    RevisionIs,
    Transaction,
    ValueIs,
)

LINE_BYTES_MAX = 64 << 20
"""One line of a stream. etcd puts at most 1,000 revisions into one message of a watch that is behind."""


# ----------------------------------------------------------------------------------------------------------- answers


class Header(msgspec.Struct):
    """Which cluster answered, at which revision."""

    cluster_id: int = 0
    revision: int = 0


class KeyValue(msgspec.Struct):
    """A record as etcd tells it; of a deletion only ``key`` and ``mod_revision`` are set."""

    key: bytes = b""
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    lease: int = 0


class RangeAnswer(msgspec.Struct):
    """To ``kv/range``."""

    header: Header = msgspec.field(default_factory=Header)
    kvs: list[KeyValue] = []
    more: bool = False


class OperationAnswer(msgspec.Struct):
    """To one operation of a transaction; only reads say anything."""

    response_range: RangeAnswer | None = None


class TransactionAnswer(msgspec.Struct):
    """To ``kv/txn``."""

    header: Header
    succeeded: bool = False
    responses: list[OperationAnswer] = []


class LeaseAnswer(msgspec.Struct):
    """To ``lease/grant`` and ``lease/keepalive``; no TTL: the lease is not known."""

    id: int = msgspec.field(name="ID", default=0)
    ttl_s: int = msgspec.field(name="TTL", default=0)


class KeepAliveLine(msgspec.Struct):
    """The one line that ``lease/keepalive`` answers."""

    result: LeaseAnswer | None = None
    error: "StreamError | None" = None


class Event(msgspec.Struct):
    """One change of a watch; the type PUT is the default and left out."""

    kv: KeyValue
    type: str = "PUT"


class WatchAnswer(msgspec.Struct):
    """One message of a watch."""

    header: Header
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    events: list[Event] = []


class StreamError(msgspec.Struct):
    """How a stream ends badly; the number's name depends on the gateway's version."""

    message: str = ""
    grpc_code: int = 0
    code: int = 0


class WatchLine(msgspec.Struct):
    """One line of ``watch``."""

    result: WatchAnswer | None = None
    error: StreamError | None = None


class TokenAnswer(msgspec.Struct):
    """To ``auth/authenticate``."""

    token: str


class _ErrorBody(msgspec.Struct):
    message: str = ""
    error: str = ""
    code: int = 0


RANGE = msgspec.json.Decoder(RangeAnswer, strict=False)
TRANSACTION = msgspec.json.Decoder(TransactionAnswer, strict=False)
LEASE = msgspec.json.Decoder(LeaseAnswer, strict=False)
KEEP_ALIVE = msgspec.json.Decoder(KeepAliveLine, strict=False)
WATCH = msgspec.json.Decoder(WatchLine, strict=False)
TOKEN = msgspec.json.Decoder(TokenAnswer, strict=False)
_ERROR = msgspec.json.Decoder(_ErrorBody, strict=False)


_T = TypeVar("_T")


def decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    """A typed answer. Raises EtcdProblem if it is none (a proxy's page, a version that speaks otherwise)."""
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:  # ValidationError is one of them
        text = f"an answer that etcd's gateway does not give ({error}): {body[:80]!r}"
        raise EtcdProblem(Problem(ProblemKind.UNCERTAIN, text)) from error


class LineSplitter:
    """Bytes as they arrive in, whole lines out."""

    def __init__(self, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self._line_bytes_max = line_bytes_max

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes, empty ones left out. Raises ValueError if one grows beyond the limit."""
        *ends, rest = data.split(b"\n")
        lines = []
        for end in ends:
            lines.append(b"".join((*self._parts, end)))
            self._parts.clear()
            self._held_bytes = 0
        if rest:
            self._parts.append(rest)
            self._held_bytes += len(rest)
        if self._held_bytes > self._line_bytes_max:
            raise ValueError(f"a line of more than {self._line_bytes_max} bytes")
        return [line for line in lines if line]


# ---------------------------------------------------------------------------------------------------------- requests


def prefix_end(prefix: bytes) -> bytes:
    """The first key behind all that begin with ``prefix`` (UTF-8, not empty: its last byte is below 255)."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def encode_range(key: bytes, end: bytes | None = None, *, limit: int = 0, revision: int = 0) -> bytes:
    """A read of one key, or of those from ``key`` up to (without) ``end``; 0 as limit: all, as revision: newest."""
    return _encode({"key": key, "range_end": end or b"", "limit": str(limit), "revision": str(revision)})


def encode_transaction(namespace: bytes, transaction: Transaction) -> bytes:
    """A transaction; where a comparison fails it reads the compared keys first and then does ``otherwise``."""
    reads = [{"request_range": {"key": namespace + key.encode()}} for key in transaction.compared_keys]
    return _encode(
        {
            "compare": [_compare(namespace, compare) for compare in transaction.compares],
            "success": [_operation(namespace, operation) for operation in transaction.operations],
            "failure": reads + [_operation(namespace, operation) for operation in transaction.otherwise],
        }
    )


def encode_grant(ttl_s: int) -> bytes:
    """A lease of the server's choice of id."""
    return _encode({"TTL": str(ttl_s)})


def encode_lease(lease_id: int) -> bytes:
    """To keep alive or to revoke."""
    return _encode({"ID": str(lease_id)})


def encode_authenticate(user: str, password: str) -> bytes:
    """For a token."""
    return _encode({"name": user, "password": password})


def encode_watch(prefix: bytes, start_revision: int) -> bytes:
    """Follow a prefix from a revision on, with news of progress while nothing happens."""
    request = {
        "key": prefix,
        "range_end": prefix_end(prefix),
        "start_revision": str(start_revision),
        "progress_notify": True,
    }
    return _encode({"create_request": request})


def _encode(message: dict[str, Any]) -> bytes:
    return msgspec.json.encode(message)


def _compare(namespace: bytes, compare: Compare) -> dict[str, Any]:
    common: dict[str, Any] = {"key": namespace + compare.key.encode(), "result": "EQUAL"}
    match compare:
        case KeyAbsent():
            return common | {"target": "CREATE", "create_revision": "0"}
        case RevisionIs(_, mod_revision):
            return common | {"target": "MOD", "mod_revision": str(mod_revision)}
        case ValueIs(_, value):
            return common | {"target": "VALUE", "value": value}


def _operation(namespace: bytes, operation: Operation) -> dict[str, Any]:
    match operation:
        case Put(key, value, lease):
            return {"request_put": {"key": namespace + key.encode(), "value": value, "lease": str(lease or 0)}}
        case Delete(key):
            return {"request_delete_range": {"key": namespace + key.encode()}}
        case DeletePrefix(prefix):
            start = namespace + prefix.encode()
            return {"request_delete_range": {"key": start, "range_end": prefix_end(start)}}


# ---------------------------------------------------------------------------------------------------------- refusals


class ProblemKind(Enum):
    """What an error answer means for who asked."""

    TOKEN = "token"
    """The token is not (or no more) valid; the request was not carried out."""
    LEASE = "lease"
    """The lease is not known; the request was not carried out."""
    COMPACTED = "compacted"
    """The revision asked for is gone."""
    NOT_NOW = "not now"
    """Not carried out; to be asked again, elsewhere or later."""
    REFUSED = "refused"
    """Not carried out, and asking again does not help."""
    UNCERTAIN = "uncertain"
    """It may have been carried out or not."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An error answer, judged; ``text`` says what to do where that is known."""

    kind: ProblemKind
    text: str


class EtcdProblem(Exception):
    """An attempt that failed, on its way between the modules of this client; ``contract`` has what users see."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem
        self.kind = problem.kind


_BY_TEXT = (
    ("invalid auth token", ProblemKind.TOKEN),
    ("user name is empty", ProblemKind.TOKEN),
    ("auth store is old", ProblemKind.TOKEN),
    ("requested lease not found", ProblemKind.LEASE),
    ("required revision has been compacted", ProblemKind.COMPACTED),
    ("too many requests", ProblemKind.NOT_NOW),
    # Of a member that was asked for a leader first (see etcd_http) and has none: the request went no further.
    ("etcdserver: no leader", ProblemKind.NOT_NOW),
)
PERMISSION_DENIED = 7
_UNAUTHENTICATED = 16
# Codes by which etcd says that it rejected a request before carrying it out: InvalidArgument, NotFound, AlreadyExists,
# PermissionDenied, ResourceExhausted, FailedPrecondition, OutOfRange, Unimplemented.
_REJECTED = frozenset({3, 5, 6, PERMISSION_DENIED, 8, 9, 11, 12})
_ADVICE = (
    (
        "permission denied",
        "grant the user's role readwrite on the prefix of the namespace (etcdctl role grant-permission)",
    ),
    ("authentication failed", "check user and password (etcdctl user list)"),
    ("authentication is not enabled", "enable it (etcdctl auth enable) or configure no user"),
    (
        "database space exceeded",
        "compact and defragment etcd, then 'etcdctl alarm disarm', or raise --quota-backend-bytes",
    ),
    ("request is too large", "write less at once, or raise etcd's --max-request-bytes"),
    ("too many operations", "raise etcd's --max-txn-ops to 128, its default"),
)


def judge(status: int, body: bytes) -> Problem:
    """What an HTTP answer other than 200 means."""
    try:
        error = _ERROR.decode(body)
    except msgspec.DecodeError:
        return _judge_plain(status, body.decode(errors="replace").strip()[:200])
    return judge_error(error.code, error.message or error.error)


def judge_error(code: int, message: str) -> Problem:
    """What a gRPC status code and etcd's message mean (also inside a stream)."""
    for part, kind in _BY_TEXT:
        if part in message:
            return Problem(kind, message)
    if code == _UNAUTHENTICATED:
        return Problem(ProblemKind.TOKEN, message)
    if code in _REJECTED:
        advice = next((advice for part, advice in _ADVICE if part in message), None)
        return Problem(ProblemKind.REFUSED, f"etcd refuses: {message}" + (f"; {advice}" if advice else ""))
    return Problem(ProblemKind.UNCERTAIN, f"etcd: {message or 'an error without a message'} (code {code})")


def _judge_plain(status: int, text: str) -> Problem:
    """An answer that is no JSON comes from in front of the gateway."""
    if status == 404:
        advice = "there is no JSON gateway at this address; start etcd with --enable-grpc-gateway=true (its default)"
        return Problem(ProblemKind.REFUSED, f"etcd answers 404 ({text}): {advice}")
    if "CommonName" in text:
        advice = (
            "etcd's gateway takes no client certificate with a CommonName while authentication is on; use one without"
        )
        return Problem(ProblemKind.REFUSED, f"etcd answers {status} ({text}): {advice}, and a user with a password")
    if 400 <= status < 500:
        return Problem(ProblemKind.REFUSED, f"etcd's address answers {status} ({text}); is it etcd's client URL?")
    return Problem(ProblemKind.UNCERTAIN, f"etcd's address answers {status} ({text})")
