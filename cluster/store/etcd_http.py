"""Requests to etcd's gateway over several endpoints: the only module that knows aiohttp.

Decided here: which endpoint is asked, when another one, when again, and what a broken connection says about the
request. A request is repeated only if it certainly was not carried out, or if its caller says that twice is as good
as once. Every wait has an end. All requests ask for a member that has a leader, so that one cut off from its cluster
says so instead of letting us wait.

Not responsible for: what requests and answers mean (``etcd_wire``, ``etcd``).
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
from aiohttp import AddrInfoType

from cluster.store import etcd_wire as wire
from cluster.store.contract import StoreClosed, StoreRefused, StoreUnavailable
from cluster.store.etcd_config import EtcdConfig
from cluster.store.etcd_wire import EtcdProblem, Problem, ProblemKind

ANSWER_BYTES_MAX = 64 << 20
CONNECTIONS_MAX = 256
"""Each open watch holds one."""
TOKEN_RENEWALS_MAX = 2
"""Per call: once because the token was old, once because the cluster's users changed meanwhile."""

# The gateway hands Grpc-Metadata-* on as gRPC metadata; etcd's own client sends this one as WithRequireLeader.
_HEADERS = {"Content-Type": "application/json", "Grpc-Metadata-hasleader": "true"}


class Answer(NamedTuple):
    """The body of an answer 200, and the injected clock when its request was sent."""

    body: bytes
    sent_s: float


class Stream:
    """An answer that goes on."""

    def __init__(self, endpoint: str, content: aiohttp.StreamReader) -> None:
        self.endpoint = endpoint
        self._content = content

    async def read(self, silence_s: float) -> bytes | None:
        """The next bytes, or None after ``silence_s`` without any. Raises EtcdProblem at the end of the stream."""
        try:
            async with asyncio.timeout(silence_s):
                data = await self._content.readany()
        except TimeoutError:
            return None
        except (aiohttp.ClientError, OSError) as error:
            raise _broken(self.endpoint, error) from error
        if not data:
            raise EtcdProblem(Problem(ProblemKind.UNCERTAIN, f"{self.endpoint}: the stream ended"))
        return data


class EtcdHttp:
    """To be made inside a running event loop, and to be closed."""

    def __init__(self, config: EtcdConfig, *, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        """``clock``: monotonic seconds, for ``Answer.sent_s``. ``jitter``: uniform in [0, 1)."""
        self._config = config
        self._clock = clock
        self._jitter = jitter
        self._endpoints = tuple(endpoint.rstrip("/") for endpoint in config.endpoints)
        self._current = int(jitter() * len(self._endpoints))  # members share the load of many clients
        self._token: str | None = None
        self._token_lock = asyncio.Lock()
        self._closing = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX, ssl=config.ssl_context() or True, socket_factory=_socket_that_notices
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
        )

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closing.is_set()

    async def close(self) -> None:
        """End everything that is under way with StoreClosed."""
        self._closing.set()
        await self._session.close()

    async def call(self, path: str, body: bytes, *, repeatable: bool = True) -> Answer:
        """One answer, from whichever endpoint gives it.

        Raises StoreUnavailable (``unknown`` only if not ``repeatable``), StoreRefused, StoreClosed; EtcdProblem of
        kinds LEASE and COMPACTED.
        """
        deadline_s = self._loop.time() + self._config.operation_timeout_s
        renewals = failures = 0
        while True:
            endpoint = self._endpoints[self._current]
            try:
                return await self._attempt(endpoint, path, body, deadline_s)
            except EtcdProblem as error:
                problem = error.problem
                self._check_open()
                if problem.kind in (ProblemKind.LEASE, ProblemKind.COMPACTED):
                    raise
            if problem.kind is ProblemKind.TOKEN and self._config.user and renewals < TOKEN_RENEWALS_MAX:
                renewals += 1
                continue
            self.refuse_if_final(problem)
            self._leave(endpoint)
            if problem.kind is ProblemKind.UNCERTAIN and not repeatable:
                raise StoreUnavailable(f"no answer ({problem.text}); it may have been done", unknown=True)
            failures += 1
            if failures % len(self._endpoints) == 0:
                await self.pause(failures // len(self._endpoints), deadline_s - self._loop.time())
            if self._loop.time() >= deadline_s:
                raise StoreUnavailable(f"no endpoint of etcd serves us; the last one: {problem.text}")

    async def call_at(self, endpoint: str, path: str, body: bytes) -> Answer:
        """One attempt at this endpoint. Raises EtcdProblem, StoreClosed."""
        self._check_open()
        return await self._attempt(endpoint, path, body, self._loop.time() + self._config.attempt_timeout_s)

    @asynccontextmanager
    async def stream(self, path: str, body: bytes) -> AsyncIterator[Stream]:
        """An answer that goes on, from the current endpoint; an EtcdProblem inside leaves that endpoint.

        Raises EtcdProblem, StoreClosed.
        """
        self._check_open()
        endpoint = self._endpoints[self._current]
        try:
            token = await self._get_token(endpoint, self._config.attempt_timeout_s)
            response = await self._open(endpoint + path, body, token)
            try:
                if response.status != 200:
                    raise EtcdProblem(self._judge(response.status, await _read(endpoint, response), token))
                yield Stream(endpoint, response.content)
            finally:
                response.close()
        except EtcdProblem as error:
            self._check_open()
            if error.kind in (ProblemKind.UNCERTAIN, ProblemKind.NOT_NOW):
                self._leave(endpoint)
            raise

    def refuse_if_final(self, problem: Problem) -> None:
        """Raise StoreRefused if no further attempt can help."""
        if problem.kind is ProblemKind.TOKEN:
            advice = "check the user" if self._config.user else "configure a user and a password"
            raise StoreRefused(f"etcd wants authentication ({problem.text}); {advice}")
        if problem.kind is ProblemKind.REFUSED:
            raise StoreRefused(problem.text)

    def forget_token(self) -> None:
        """The next request fetches a new one."""
        self._token = None

    async def pause(self, round_: int, at_most_s: float = float("inf")) -> None:
        """Wait before round 1, 2, … of trying again: doubled each time, jittered, cut short by StoreClosed."""
        longest_s = min(self._config.retry_min_s * 2.0 ** min(round_ - 1, 16), self._config.retry_max_s)
        try:
            async with asyncio.timeout(min(longest_s * (0.5 + 0.5 * self._jitter()), at_most_s)):
                await self._closing.wait()
        except TimeoutError:
            return
        raise StoreClosed

    def _leave(self, endpoint: str) -> None:
        """Others may have left it already: then the new one is not to blame."""
        if self._endpoints[self._current] == endpoint:
            self._current = (self._current + 1) % len(self._endpoints)

    def _check_open(self) -> None:
        if self.closed:
            raise StoreClosed

    async def _attempt(self, endpoint: str, path: str, body: bytes, deadline_s: float) -> Answer:
        self._check_open()
        timeout_s = max(min(self._config.attempt_timeout_s, deadline_s - self._loop.time()), 0.001)
        token = await self._get_token(endpoint, timeout_s)
        sent_s = self._clock()
        status, answer = await self._post(endpoint, path, body, token, timeout_s)
        if status != 200:
            raise EtcdProblem(self._judge(status, answer, token))
        return Answer(answer, sent_s)

    def _judge(self, status: int, body: bytes, token: str | None) -> Problem:
        problem = wire.judge(status, body)
        if problem.kind is ProblemKind.TOKEN and self._token == token:
            self.forget_token()
        return problem

    async def _get_token(self, endpoint: str, timeout_s: float) -> str | None:
        """The token all requests share; fetched by whoever needs it first. A failure here has sent nothing yet."""
        user, password = self._config.user, self._config.password
        if user is None or password is None:
            return None
        try:
            async with asyncio.timeout(timeout_s), self._token_lock:  # who waits for another one's try waits no longer
                if self._token is None:
                    self._token = await self._authenticate(endpoint, user, password, timeout_s)
                return self._token
        except TimeoutError as error:
            raise EtcdProblem(Problem(ProblemKind.NOT_NOW, f"{endpoint}: no token in {timeout_s:.1f} s")) from error

    async def _authenticate(self, endpoint: str, user: str, password: str, timeout_s: float) -> str:
        body = wire.encode_authenticate(user, password)
        try:
            status, answer = await self._post(endpoint, "/v3/auth/authenticate", body, None, timeout_s)
        except EtcdProblem as error:
            raise EtcdProblem(Problem(ProblemKind.NOT_NOW, error.problem.text)) from error
        if status != 200:
            problem = wire.judge(status, answer)
            final = problem.kind is ProblemKind.REFUSED
            raise EtcdProblem(problem if final else Problem(ProblemKind.NOT_NOW, problem.text))
        return wire.decode(wire.TOKEN, answer).token

    async def _post(
        self, endpoint: str, path: str, body: bytes, token: str | None, timeout_s: float
    ) -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=self._config.connect_timeout_s)
        headers = {"Authorization": token} if token else {}
        self._check_open()
        try:
            async with self._session.post(
                endpoint + path, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                return response.status, await _read(endpoint, response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _broken(endpoint, error) from error

    async def _open(self, url: str, body: bytes, token: str | None) -> aiohttp.ClientResponse:
        """An answer whose body may take for ever, though its head may not."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._config.connect_timeout_s)
        headers = {"Authorization": token} if token else {}
        self._check_open()
        try:
            async with asyncio.timeout(self._config.attempt_timeout_s):
                return await self._session.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _broken(url, error) from error


async def _read(endpoint: str, response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > ANSWER_BYTES_MAX:
            raise EtcdProblem(Problem(ProblemKind.UNCERTAIN, f"{endpoint}: more than {ANSWER_BYTES_MAX} bytes"))
    return bytes(data)


def _broken(endpoint: str, error: Exception) -> EtcdProblem:
    """What a connection that broke says about the request: only one that was never made proves that it was not sent."""
    not_sent = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    text = f"{endpoint}: {str(error) or type(error).__name__}"
    return EtcdProblem(Problem(ProblemKind.NOT_NOW if not_sent else ProblemKind.UNCERTAIN, text))


def _socket_that_notices(address: AddrInfoType) -> socket.socket:
    """A socket that finds within some 15 s that its peer is gone without a word (a host or a router that forgot it).

    A watch may rightly be silent for minutes; while its probes reach a host that is back, only its own connection can
    tell that the host does not know it any more.
    """
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 6)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 3)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    return made
