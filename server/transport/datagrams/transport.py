"""Datagram connections of a gateway: who is connected, what waits for them, and how each of them ends.

Decides when a token, a connection and a slot are over. To its user it is like ``Carriers``; its connections are
``base`` … ``base + capacity - 1``. Invariants: a connection ends for its user in exactly one way, by the user's own
``close`` or by one ``Lost``; a slot is used again only after its end has been told, under another number and with
other keys; nothing is sent to anybody of whom nothing was decrypted; no bytes from outside raise. In the steady state
no Python runs for each connection except one call of the cipher for each datagram. Not responsible for: what messages
mean (``server.session``), which values are sent (``server.core``).
"""

import secrets
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from kernels.arriving import MESSAGES_MAX, PeerEnd, take_datagrams, take_streams
from kernels.departing import (
    SPENT,
    T_COUNTS,
    T_ENDED,
    T_MESSAGES,
    T_RESENT_BYTES,
    T_ROWS,
    T_STREAM_BYTES,
    T_TOO_LONG,
    mark_blocked,
    post,
    post_frames,
    write_messages,
    write_rest,
)
from kernels.hotmessages import N_COLD, N_END, N_FRAMES, N_READY
from kernels.peers import (
    DROPS,
    KIND_MESSAGE,
    PEER,
    STATE_CLOSING,
    STATE_FREE,
    STATE_GONE,
    STATE_OPEN,
    STATE_TOKEN,
    Drop,
    make_peers,
    make_rows,
)
from kernels.streams import RTT_FIRST_MS, RTT_OFF_FIRST_MS, WINDOW_FIRST_BYTES, pour
from protocol.codes import Close, ProtocolViolation
from protocol.datagrams import SIZE_BYTES
from protocol.messages import SSEQ_OFFSET, Closing, Token, encode_server
from server.transport.backlog import Backlog
from server.transport.datagrams.config import DatagramConfig
from server.transport.datagrams.live import UdpWay
from server.transport.datagrams.tokens import Tokens
from server.transport.datagrams.way import Table, Way
from server.transport.inbound import NO_CONNS, Inbound, Lost, Opened, Outputs
from server.transport.outbox import as_array

_CODES = {PeerEnd.OVERSIZED: Close.TOO_LARGE, PeerEnd.TOO_MANY_MESSAGES: Close.TOO_MANY_MESSAGES}
_NO_SSEQ = np.zeros(0, np.uint32)


class Datagrams:
    """Connections over one ``way``; use from one event loop only.

    ``rows``: PEER[U], by slot. ``rejected``: connections closed for what they sent, by reason. Totals since the start:
    ``received_messages``, ``sent_messages``, ``stream_bytes``, ``resent_bytes``; of datagrams see ``way``.
    """

    def __init__(
        self,
        config: DatagramConfig,
        base: int = 0,
        *,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        clock_ms: Callable[[], int] | None = None,
        batched: bool | None = None,
        way: Callable[[Table], Way] | None = None,
    ) -> None:
        """``base``: the number of the first connection; ``way``: makes what carries them, None for UDP. Raises OSError
        if the socket cannot be bound."""
        self.config = config
        self.base = base
        self.rejected: Counter[str] = Counter()
        self.received_messages = self.sent_messages = self.stream_bytes = self.resent_bytes = 0
        self._clock_ms = clock_ms or _now_ms
        self._peers = make_peers(config.capacity)
        self.rows = self._peers.row
        self._arrivals, self._departures = make_rows(config.arrivals_max), make_rows(config.departures_max)
        self._tokens = Tokens(config.capacity, config.token_ms, random_bytes)
        self._drops = np.zeros(DROPS, np.int64)
        table = Table(self._peers, self._tokens, self._arrivals, self._departures, self._drops)
        self.way: Way = UdpWay(config, table, batched) if way is None else way(table)
        n = config.capacity
        self._blocked = np.zeros(n, np.uint8)
        self._ready = np.zeros(n, np.int32)
        self._fresh = np.zeros(n + 1, np.int32)
        self._ended = np.zeros((2, n), np.int32)
        self._written = np.zeros(T_COUNTS, np.int64)
        self._message = np.zeros(config.message_bytes_max, np.uint8)
        self._outputs = Outputs(n, max(config.message_bytes_max, 1200), MESSAGES_MAX)
        self._inbound = Inbound()
        self._opened: list[Opened] = []
        self._lost: list[Lost] = []
        self._released: list[int] = []
        self._closing: dict[int, tuple[int, bytes]] = {}
        self._backlog = Backlog(config.post_bytes_max)
        self._high = 0

    # ------------------------------------------------------------------------------------------------------ figures
    @property
    def address(self) -> str:
        """What tokens name."""
        return self.way.address

    @property
    def open_count(self) -> int:
        """Slots in use, tokens that wait included."""
        return self._tokens.taken

    @property
    def tokens_waiting(self) -> int:
        """Tokens that were given and neither used nor expired."""
        return self._tokens.waiting

    @property
    def dropped(self) -> dict[str, int]:
        """Datagrams, and pieces of streams, that were not taken, by reason."""
        counted = {drop.name.lower(): int(self._drops[drop]) for drop in Drop}
        counted["message_too_long"] = int(self._written[T_TOO_LONG])
        return counted | self.way.dropped

    @property
    def blocked(self) -> npt.NDArray[np.uint8]:
        """uint8[U]: 1 while so much waits for a connection that it should get no new frames."""
        mark_blocked(self._high, self._peers, self.config.post_bytes_max, self._blocked)
        return self._blocked

    # ------------------------------------------------------------------------------------------------------ life
    def start(self) -> None:
        """Take what arrives between polls, too, from the running loop."""
        self.way.start()

    def stop(self) -> None:
        """Close the socket. Idempotent."""
        self.way.stop()

    def token(self, session: int) -> Token:
        """A fresh token for a session; the one before is useless from now on."""
        now_ms = self._clock_ms()
        older = self._tokens.superseded(session)
        if older is not None:
            self._free(older)
        given = self._tokens.give(session, now_ms)
        if given is None:
            return Token(None, 0, b"", b"", 0, "no place is free for another datagram connection")
        slot, peers = given.slot, self._peers
        generation = (int(peers.row["generation"][slot]) + 1) & 0xFFFFFFFF
        peers.row[slot] = np.zeros((), PEER)
        peer = peers.row[slot]
        peer["number"], peer["generation"], peer["state"] = given.number, generation, STATE_TOKEN
        peer["tokens"] = self.config.message_burst
        peer["refilled_ms"] = peer["heard_ms"] = peer["sent_ms"] = now_ms
        peer["rtt_ms"], peer["rtt_off_ms"], peer["window_bytes"] = RTT_FIRST_MS, RTT_OFF_FIRST_MS, WINDOW_FIRST_BYTES
        peers.seen[slot] = 0
        self._high = max(self._high, slot + 1)
        return self.way.token(given, session, self.config.token_ms)

    # ------------------------------------------------------------------------------------------------------ receiving
    def poll(self, now_ms: int) -> Inbound:
        """Take everything that has arrived; never blocks. The result is valid until the next poll."""
        out, inbound, counts = self._outputs, self._inbound, self._outputs.counts
        counts[:] = 0
        self._fresh[0] = 0
        inbound.cold = []
        inbound.pose_conn = NO_CONNS
        self._let_go(now_ms)
        if count := self.way.take():
            self._take(count, now_ms)
        self.received_messages += int(counts[N_FRAMES])
        for slot in self._fresh[1 : 1 + self._fresh[0]].tolist():
            self._begin(slot)
        # Ends first: a message that is refused below must not find its connection already closed.
        for slot, why, _ in out.ends[:, : counts[N_END]].T.tolist():
            end = PeerEnd(why)
            reason = end.name.lower()
            self._violated(slot, reason, _CODES.get(end, Close.PROTOCOL), f"not allowed here: {reason}")
        if counts[N_COLD]:
            out.take_cold(inbound, self.rows["odd"], self.base, self._refuse)
        for slot in self._silent(now_ms):
            self._note_lost(slot, 1006, "silent")
            self._free(slot)
        for slot in self.way.ended():
            if self.rows["state"][slot] == STATE_OPEN:
                self._note_lost(slot, 1006, "eof")
            self._free(slot)
        out.columns(inbound)
        inbound.opened, self._opened = self._opened, []
        inbound.lost, self._lost = self._lost, []
        for slot in self._released:
            self._tokens.free(slot)
        self._released.clear()
        return inbound

    def _take(self, count: int, now_ms: int) -> None:
        config, out, counts = self.config, self._outputs, self._outputs.counts
        limits = (now_ms, config.messages_per_s / 1000.0, float(config.message_burst))
        done = 0
        while True:
            done = take_datagrams(
                done, count, self._arrivals, self._peers, self.base, *limits, config.message_bytes_max, out.inputs,
                out.input_earlier, out.command_counts, out.commands, out.acks, out.ack_earlier, out.cold,
                out.cold_bytes, out.ends, self._fresh, self._ready, self._drops, counts,
            )  # fmt: skip
            if done == count:
                break
            out.grow()
        done = 0
        while True:
            done = take_streams(
                done, self._ready, self._peers, self.base, *limits, self._message, out.inputs, out.input_earlier,
                out.command_counts, out.commands, out.acks, out.ack_earlier, out.cold, out.cold_bytes, out.ends,
                counts,
            )  # fmt: skip
            if done == counts[N_READY]:
                break
            out.grow()

    def _begin(self, slot: int) -> None:
        """The first datagram of a token was decrypted: it is used, and this is a connection."""
        self._tokens.used(slot)
        generation, session = int(self.rows["generation"][slot]), self._tokens.session_of(slot)
        self._opened.append(Opened(self.base + slot, generation, self.way.remote(slot), False, session))

    def _silent(self, now_ms: int) -> list[int]:
        """Connections of which nothing was heard for too long."""
        rows = self.rows[: self._high]
        silent = (rows["state"] == STATE_OPEN) & (rows["heard_ms"] < now_ms - self.config.silence_ms)
        return [int(slot) for slot in np.flatnonzero(silent)]

    def _let_go(self, now_ms: int) -> None:
        """Tokens that nobody used, and closed connections that have lingered."""
        for slot in self._tokens.expired(now_ms):
            self._free(slot)
        for slot, (until_ms, _) in list(self._closing.items()):
            if until_ms > now_ms:
                break
            self._free(slot)

    # ------------------------------------------------------------------------------------------------------ sending
    def post(self, conns: npt.NDArray[np.int32], message: bytes, sseq: npt.NDArray[np.uint32] | None = None) -> None:
        """Queue one message on the streams of many connections; it leaves with the next ``flush``.

        ``sseq`` (uint32[n]): the number that each stream gives to this structure message. A message of more than
        ``post_bytes_max`` waits for room in the stream, and so does what is posted behind it. Of whom too much waits is
        closed with 4002 and reported as ``Lost``.
        """
        if sseq is not None and len(sseq) != len(conns):
            raise ValueError(f"post: {len(conns)} connections but {len(sseq)} structure numbers")
        numbers = _NO_SSEQ if sseq is None else sseq
        data = as_array(message)
        if self._backlog or self._backlog.is_large(len(message)):
            waits = (self.rows["held"][conns - self.base] == 1) | self._backlog.is_large(len(message))
            self._hold(conns[waits], data, numbers if sseq is None else numbers[waits])
            conns, numbers = conns[~waits], numbers if sseq is None else numbers[~waits]
        post(conns, data, numbers, SSEQ_OFFSET, self.base, self._peers, self._ended, self._written)
        self._take_ended()

    def _hold(self, conns: npt.NDArray[np.int32], data: npt.NDArray[np.uint8], sseq: npt.NDArray[np.uint32]) -> None:
        """A message goes to the end of what waits for room in the streams of these connections. A loop over them:
        a large message is rare."""
        size = as_array(len(data).to_bytes(SIZE_BYTES, "little"))
        for k, slot in enumerate((conns - np.int32(self.base)).tolist()):
            if self.rows["state"][slot] != STATE_OPEN:
                continue
            pieces = [size, data]
            if len(sseq):
                number = as_array(int(sseq[k]).to_bytes(4, "big"))
                head = np.concatenate((size, data[:SSEQ_OFFSET], number))
                pieces = [head, data[SSEQ_OFFSET + 4 :]]
            if self._backlog.add(slot, pieces):
                self.rows["held"][slot] = 1
            else:
                self._violated(slot, "too_slow", Close.TOO_SLOW, "the connection is too slow for what must be sent")

    def _pour(self) -> None:
        """What waits for room in streams goes into them as far as there is some."""
        row = self.rows
        for slot in self._backlog.conns:
            if self._backlog.pour(slot, partial(pour, row, slot, self._peers.out[slot])):
                row["held"][slot] = 0

    def send_frames(
        self,
        buffer: npt.NDArray[np.uint8],
        conn: npt.NDArray[np.int32],
        offset: npt.NDArray[np.int64],
        length: npt.NDArray[np.int64],
    ) -> None:
        """Take what WebSocket connections are sent too: ``buffer[offset[i] : offset[i] + length[i]]``, whole frames,
        whose messages go to the stream of ``conn[i]``. ``buffer`` may be reused at once; all has left after
        ``flush``."""
        post_frames(buffer, conn, offset, length, self.base, self._peers, self._ended, self._written)
        self._take_ended()

    def send(
        self,
        buffer: npt.NDArray[np.uint8],
        conn: npt.NDArray[np.int32],
        offset: npt.NDArray[np.int64],
        length: npt.NDArray[np.int64],
        kind: npt.NDArray[np.uint8],
    ) -> None:
        """Take messages ``buffer[offset[i] : offset[i] + length[i]]``: ``kind`` 1 for the stream of ``conn[i]``, 2
        for a datagram.

        ``buffer`` may be reused at once. All has left after ``flush``. A message of kind 2
        that fits into no datagram is dropped and counted.
        """
        self._write(buffer, conn, offset, length, kind, STATE_OPEN)
        self._take_ended()

    def flush(self) -> None:
        """Send all that is due now: the rest of streams, what was lost of them, acknowledgements, CLOSE."""
        now_ms = self._clock_ms()
        self._say_close()
        self._pour()
        done = 0
        while True:
            done = write_rest(
                done, self._high, self._peers, self._departures, now_ms, self.config.idle_ms, self._ended, self._written
            )
            self._depart()
            if done == self._high:
                break
        self._take_ended()

    def _write(
        self,
        buffer: npt.NDArray[np.uint8],
        conn: npt.NDArray[np.int32],
        offset: npt.NDArray[np.int64],
        length: npt.NDArray[np.int64],
        kind: npt.NDArray[np.uint8],
        state: int,
    ) -> None:
        now_ms = self._clock_ms()
        done = 0
        while True:
            done = write_messages(
                done, buffer, conn, offset, length, kind, self.base, state, self._peers, self._departures, now_ms,
                self._ended, self._written,
            )  # fmt: skip
            if done == len(conn):
                break
            self._depart()

    def _depart(self) -> None:
        """Send what is written."""
        written = self._written
        count = int(written[T_ROWS])
        if count:
            self.way.send(count)
            written[T_ROWS] = 0
        self.sent_messages += int(written[T_MESSAGES])
        self.stream_bytes += int(written[T_STREAM_BYTES])
        self.resent_bytes += int(written[T_RESENT_BYTES])
        written[T_MESSAGES] = written[T_STREAM_BYTES] = written[T_RESENT_BYTES] = 0

    # ------------------------------------------------------------------------------------------------------ endings
    def close(self, conn: int, code: int, retry_after_ms: int | None = None, text: str = "") -> None:
        """End a connection: CLOSE now, and once more whenever something of it comes within ``linger_ms``.

        For the caller it is over at once: nothing more of ``conn`` is delivered. Does nothing if it has ended already.
        """
        slot = conn - self.base
        self._lost = [lost for lost in self._lost if lost.conn != conn]
        if self.rows["state"][slot] in (STATE_OPEN, STATE_GONE):
            self._finish(slot, code, retry_after_ms, text)

    def _refuse(self, conn: int, violation: ProtocolViolation) -> None:
        self._violated(conn - self.base, violation.reason, violation.code, violation.text)

    def _violated(self, slot: int, reason: str, code: Close, text: str) -> None:
        if slot in self._closing or self.rows["state"][slot] not in (STATE_OPEN, STATE_GONE):
            return
        self.rejected[reason] += 1
        self._note_lost(slot, code, reason)
        self._finish(slot, code, None, text)

    def _take_ended(self) -> None:
        """Connections that ended while something was written for them."""
        for slot, why in self._ended[:, : self._written[T_ENDED]].T.tolist():
            if why == SPENT:
                self._violated(
                    slot, "sequences_spent", Close.GOING_AWAY, "this connection has no number left: go on by another"
                )
            else:
                self._violated(slot, "too_slow", Close.TOO_SLOW, "the connection is too slow for what must be sent")
        self._written[T_ENDED] = 0

    def _note_lost(self, slot: int, code: int, reason: str) -> None:
        self._lost.append(Lost(self.base + slot, int(code), reason))

    def _finish(self, slot: int, code: int, retry_after_ms: int | None, text: str) -> None:
        peer = self.rows[slot]
        peer["state"], peer["ack_due"] = STATE_CLOSING, 1
        self._backlog.drop(slot)
        last = encode_server(Closing(code, retry_after_ms, text[:200]))
        self._closing[slot] = self._clock_ms() + self.config.linger_ms, last

    def _say_close(self) -> None:
        """CLOSE to those who are closed and have not heard it yet, or say something still."""
        slots = np.fromiter(self._closing, np.int32, len(self._closing))
        due = slots[self.rows["ack_due"][slots] == 1]
        if len(due):
            words = [self._closing[slot][1] for slot in due.tolist()]
            sizes = np.array([len(word) for word in words], np.int64)
            kinds = np.full(len(due), KIND_MESSAGE, np.uint8)
            conns, buffer = due + np.int32(self.base), as_array(b"".join(words))
            self._write(buffer, conns, np.cumsum(sizes) - sizes, sizes, kinds, STATE_CLOSING)

    def _free(self, slot: int) -> None:
        """Nothing is known of the slot any more; it is used again once its end has been told."""
        self._closing.pop(slot, None)
        self.way.let_go(slot)
        self._backlog.drop(slot)
        self.rows["state"][slot] = STATE_FREE
        self.rows["number"][slot] = 0
        self._blocked[slot] = 0
        if any(lost.conn == self.base + slot for lost in self._lost):
            self._released.append(slot)
        else:
            self._tokens.free(slot)
        while self._high and self.rows["state"][self._high - 1] == STATE_FREE:
            self._high -= 1


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
