"""A gateway's rest, made of plain Python: seeded randomness, tokens that are names, and a world where all stand
together."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from protocol.codes import Close
from protocol.messages import Hello, ServerMessage
from server.session.actions import Action, AttachBody, CloseConn, Conns, Post
from server.session.identity import Identity, KeyUnknown, TokenRefused
from server.session.limits import SessionLimits
from server.session.sessions import Sessions
from server.session.tickets import Tickets
from server.session.world import WelcomeFacts

A = TypeVar("A", bound=Action)
M = TypeVar("M", bound=ServerMessage)
CAPACITY = 2048
SCHEMA = {"kinds": [[1, "walker"]], "components": []}
SCHEMA_HASH = b"12345678"


def seeded(seed: int = 1) -> Callable[[int], bytes]:
    """A deterministic stand-in for a source of randomness."""
    count = seed << 32

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(count.to_bytes(8, "big")).digest(size)

    return draw


class PlainWorld:
    """Facts, kinds, and who is near (set by the test)."""

    def __init__(self) -> None:
        self.near_conns: Conns = np.zeros(0, np.int32)

    def facts(self, conn: int, profile: str) -> WelcomeFacts:
        return WelcomeFacts(
            world="test",
            tick=7,
            rate_hz=20,
            steps_per_tick=3,
            stream=0,
            radius_m=100.0,
            near_radius_m=30.0,
            schema=SCHEMA,
            schema_hash=SCHEMA_HASH,
            anchor=None,
            map=None,
            attribution="",
            idle_ack_ms=250,
            server="test",
        )

    def body_kind(self, profile: str) -> int:
        return 1

    def place(self, conn: int) -> tuple[float, float]:
        return 0.0, 0.0

    def window_bytes(self, conn: int) -> int:
        return 5000 + conn

    def near(self, place_m: tuple[float, float], radius_m: float) -> Conns:
        return self.near_conns


class Rig:
    """Sessions with a clock that the test turns. Tokens: ``guest:SUBJECT``, ``user:SUBJECT`` or ``user:SUBJECT:NAME``.
    Sessions with a clock that the test turns. Tokens: ``guest:SUBJECT``, ``user:SUBJECT`` or ``user:SUBJECT:NAME``."""

    def __init__(
        self, limits: SessionLimits | None = None, capacity: int = CAPACITY, seed: int = 1, gateway: int | None = None
    ) -> None:
        self.world = PlainWorld()
        self.keys_known = True
        self.limits = SessionLimits() if limits is None else limits
        self.now_s = 100.0
        draw = seeded(seed)
        self.tickets = Tickets.of_cluster(b"k" * 32, draw, lambda: self.now_s)
        self.sessions = Sessions(capacity, self.limits, self.world, self.authenticate, draw, self.tickets, gateway)
        self.heard_s = np.zeros(capacity, np.float64)
        self.next_body = 1000

    def authenticate(self, token: str | None) -> Identity:
        if token is None:
            raise TokenRefused(Close.TOKEN_MISSING, "token_missing", "missing")
        kind, _, rest = token.partition(":")
        if kind == "expired":
            raise TokenRefused(Close.TOKEN_EXPIRED, "token_expired", "expired")
        if kind == "rotated" and not self.keys_known:
            raise KeyUnknown
        subject, _, name = rest.partition(":")
        return Identity("test", subject, name or None, guest=kind == "guest")

    def connect(self, conn: int, address: str = "127.0.0.1") -> list[Action]:
        return self.sessions.connected(conn, address, self.now_s)

    def hello(self, conn: int, token: str | None = None, **fields: Any) -> list[Action]:
        greeting = replace(Hello(1, 1, token, f"guest {conn}"), **fields)
        return self.sessions.said(conn, greeting, self.now_s)

    def tick(self, seconds: float = 0.05) -> list[Action]:
        self.now_s += seconds
        return self.sessions.tick(self.now_s, self.heard_s)

    def attach(self, asked: AttachBody) -> list[Action]:
        """What a shard does with AttachBody."""
        body = asked.body
        if body is None:
            body = self.next_body
            self.next_body += 1
        return self.sessions.attached(asked.session, asked.generation, body, body % 1000, 1, self.now_s)

    def join(self, conn: int, token: str | None = None, **fields: Any) -> list[Action]:
        """From the connection to WELCOME; all actions on the way."""
        actions = self.connect(conn) + self.hello(conn, token or f"guest:{conn}", **fields)
        actions += self.tick(0.0)
        for asked in of(actions, AttachBody):
            actions += self.attach(asked)
        return actions


def of(actions: list[Action], kind: type[A]) -> list[A]:
    """The actions of one kind."""
    return [action for action in actions if isinstance(action, kind)]


def messages(actions: list[Action], kind: type[M], conn: int | None = None) -> list[M]:
    """Messages of one kind posted (to ``conn``)."""
    return [
        action.message
        for action in of(actions, Post)
        if isinstance(action.message, kind) and (conn is None or conn in action.conns)
    ]


def closed(actions: list[Action]) -> dict[int, int]:
    """Connections closed → code."""
    return {action.conn: action.code for action in of(actions, CloseConn)}
