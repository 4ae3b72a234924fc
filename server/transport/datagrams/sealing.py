"""Encryption of batches: one call of ChaCha20-Poly1305 for each datagram, from row to row, without a copy.

Invariant: a datagram that does not decrypt is nobody's (``who`` -1) and counted. Not responsible for: sequences and
additional data (``kernels.peers``, ``kernels.departing``).
"""

from collections.abc import Sequence

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from kernels.hotmessages import I64
from kernels.peers import HEADER_BYTES, TAG_BYTES, Drop, Rows

Keys = Sequence[ChaCha20Poly1305 | None]


class Sealer:
    """Of the datagrams in ``rows``."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        # Made once for each row: to slice an array costs half as much as the cipher.
        self._nonce: list[memoryview] = []
        self._aad: list[memoryview] = []
        self._plain: list[memoryview] = []
        self._sealed: list[memoryview] = []

    def seal(self, count: int, keys: Keys) -> None:
        """Seal the first ``count`` rows, each with the key of its slot; sets ``wire_bytes``."""
        rows = self.rows
        self._reach(count)
        nonce, aad, plain, sealed = self._nonce, self._aad, self._plain, self._sealed
        sizes = rows.plain_bytes[:count].tolist()
        for i, slot in enumerate(rows.who[:count].tolist()):
            key = keys[slot]
            assert key is not None, "a datagram was written for a slot without keys"
            size = sizes[i]
            key.encrypt_into(nonce[i], plain[i][:size], aad[i], sealed[i][: size + TAG_BYTES])
        rows.wire_bytes[:count] = rows.plain_bytes[:count] + (HEADER_BYTES + TAG_BYTES)

    def unseal(self, count: int, keys: Keys, drops: I64) -> None:
        """Open those of the first ``count`` rows that name a slot."""
        rows = self.rows
        named = np.flatnonzero(rows.who[:count] >= 0)
        if not len(named):
            return
        self._reach(count)
        nonce, aad, plain, sealed = self._nonce, self._aad, self._plain, self._sealed
        slots, sizes = rows.who[named].tolist(), rows.plain_bytes[named].tolist()
        for i, slot, size in zip(named.tolist(), slots, sizes, strict=True):
            key = keys[slot]
            assert key is not None, "a slot has a number and no keys"
            try:
                key.decrypt_into(nonce[i], sealed[i][: size + TAG_BYTES], aad[i], plain[i][:size])
            except InvalidTag:
                rows.who[i] = -1
                drops[Drop.NOT_SEALED] += 1

    def _reach(self, count: int) -> None:
        rows = self.rows
        for i in range(len(self._nonce), count):
            self._nonce.append(memoryview(rows.nonce[i]))
            self._aad.append(memoryview(rows.aad[i]))
            self._plain.append(memoryview(rows.plain[i]))
            self._sealed.append(memoryview(rows.wire[i])[HEADER_BYTES:])
