"""Tokens and slots: which numbers are good, with which keys (STANDARD.md §9.1).

Decides when a token is over. Invariants: keys are drawn anew for each token, live in memory alone and are forgotten
with their slot, so none is ever used with a number twice, whatever process is started anew; a session has at most one
token that waits; a slot's numbers differ from the one before. Not responsible for: what is sealed with the keys, who
may have a token (``server.session``).
"""

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Given:
    """A token that was given for a slot."""

    slot: int
    number: int
    key_up: bytes
    key_down: bytes


class Tokens:
    """Slots 0 … ``capacity``-1 and their keys. ``random_bytes(n)`` draws from the system's source."""

    def __init__(self, capacity: int, token_ms: int, random_bytes: Callable[[int], bytes]) -> None:
        self.up: list[ChaCha20Poly1305 | None] = [None] * capacity
        """What clients seal with, by slot."""
        self.down: list[ChaCha20Poly1305 | None] = [None] * capacity
        self._token_ms = token_ms
        self._random_bytes = random_bytes
        self._session: list[int] = [0] * capacity
        self._marks = [0] * capacity
        self._waiting: dict[int, int] = {}
        # All tokens are good for the same time, so insertion order is order of time.
        self._expiry_ms: dict[int, int] = {}
        self._free = list(range(capacity - 1, -1, -1))
        """The slot that was freed last is taken first: memory follows the most people at once."""

    @property
    def waiting(self) -> int:
        """Tokens that nobody has used yet."""
        return len(self._expiry_ms)

    @property
    def taken(self) -> int:
        """Slots in use."""
        return len(self.up) - len(self._free)

    def session_of(self, slot: int) -> int:
        """Whose token the slot was made for."""
        return self._session[slot]

    def give(self, session: int, now_ms: int) -> Given | None:
        """A fresh token; None if no slot is free. Call ``superseded`` before: the session's older one ends then."""
        if not self._free:
            return None
        slot = self._free.pop()
        # 1 to 65,535, and another one than before: an old client's datagrams must not even be tried.
        mark = 1 + int.from_bytes(self._random_bytes(4), "little") % 65_534
        self._marks[slot] = mark if mark < self._marks[slot] or not self._marks[slot] else mark + 1
        key_up, key_down = self._random_bytes(KEY_BYTES), self._random_bytes(KEY_BYTES)
        self.up[slot], self.down[slot] = ChaCha20Poly1305(key_up), ChaCha20Poly1305(key_down)
        self._session[slot] = session
        self._waiting[session] = slot
        self._expiry_ms[slot] = now_ms + self._token_ms
        return Given(slot, self._marks[slot] << 16 | slot, key_up, key_down)

    def superseded(self, session: int) -> int | None:
        """The slot of the session's token that waits, if there is one: free it."""
        return self._waiting.get(session)

    def used(self, slot: int) -> None:
        """Something came that the token's key opens: it is a connection now."""
        del self._expiry_ms[slot]
        del self._waiting[self._session[slot]]

    def expired(self, now_ms: int) -> list[int]:
        """Slots whose token was not used in time: free them."""
        out = []
        for slot, at_ms in self._expiry_ms.items():
            if at_ms > now_ms:
                break
            out.append(slot)
        return out

    def free(self, slot: int) -> None:
        """Forget keys and token."""
        self.up[slot] = self.down[slot] = None
        if self._expiry_ms.pop(slot, None) is not None:
            del self._waiting[self._session[slot]]
        self._session[slot] = 0
        self._free.append(slot)
