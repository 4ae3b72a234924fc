/**
 * What is in a datagram, and the reliable streams in them (STANDARD.md §9.3). Over WebTransport a datagram is this plaintext and
 * nothing else (§9.5): QUIC seals it.
 *
 * Invariants: what is malformed throws ProtocolError, because whoever sent it is the server; offsets of streams are whole numbers
 * here, and modulo 2³² on the wire alone. Not responsible for: carriers (net/webtransport.ts), when a datagram goes (net/datagramlink.ts).
 */
import { ProtocolError } from "./codes";

/** Of a plaintext, so that it fits into 1,200 bytes with UDP's seal. */
export const PLAIN_BYTES_MAX = 1171;
export const DATAGRAMS_VERSION = 1;
export const CARRIER_WEBTRANSPORT = 1;
export const RECEIVED_BYTES = 4;
export const PART_HEAD_BYTES = 3;
export const OFFSET_BYTES = 4;

export const KIND_STREAM = 1;
export const KIND_MESSAGE = 2;
const KIND_OPENING = 3;

/** Most bytes of a stream that are said and not acknowledged. */
const STREAM_WINDOW_BYTES = 65_536;
const SIZE_BYTES = 4;
/** Of a stream that is received; a piece that would make more is as good as lost. */
const GAPS_MAX = 64;
const FIRST_WAIT_MS = 250;
/** On top of a round trip, at least: an acknowledgement waits for the datagram that it travels in. */
const PATIENCE_MS = 50;
/** That waiting grows to when nothing is acknowledged. */
const WAIT_MS_MAX = 1000;
const BURST_MAX = 64;
const U32 = 2 ** 32;

type Bytes = Uint8Array<ArrayBuffer>;

export interface Part {
  readonly kind: number;
  readonly data: Uint8Array;
}

/** Joins what `parts` takes apart; `received` is taken modulo 2³². */
export function plaintext(received: number, parts: readonly Part[]): Bytes {
  const out = new Uint8Array(parts.reduce((bytes, { data }) => bytes + PART_HEAD_BYTES + data.length, RECEIVED_BYTES));
  const view = new DataView(out.buffer);
  view.setUint32(0, received % U32, true);
  let at = RECEIVED_BYTES;
  for (const { kind, data } of parts) {
    view.setUint8(at, kind);
    view.setUint16(at + 1, data.length, true);
    out.set(data, at + PART_HEAD_BYTES);
    at += PART_HEAD_BYTES + data.length;
  }
  return out;
}

/** `received` and the parts of a plaintext; kinds that are unknown are left out. */
export function parts(plain: Uint8Array): { readonly received: number; readonly parts: readonly Part[] } {
  if (plain.length < RECEIVED_BYTES) throw new ProtocolError(`a datagram of ${plain.length} bytes says nothing`);
  const view = new DataView(plain.buffer, plain.byteOffset, plain.length);
  const out: Part[] = [];
  for (let at = RECEIVED_BYTES; at < plain.length;) {
    const begin = at + PART_HEAD_BYTES;
    const end = begin > plain.length ? Infinity : begin + view.getUint16(at + 1, true);
    if (end > plain.length) throw new ProtocolError("a part does not end within its datagram");
    const kind = view.getUint8(at);
    if (kind === KIND_STREAM && end - begin < OFFSET_BYTES) throw new ProtocolError("a stream part lacks its offset");
    if (kind >= KIND_STREAM && kind <= KIND_OPENING) out.push({ kind, data: plain.subarray(begin, end) });
    at = end;
  }
  return { received: view.getUint32(0, true), parts: out };
}

/** Bytes of a stream from an offset on. */
export interface Piece {
  readonly offset: number;
  readonly data: Uint8Array;
}

export function streamPart({ offset, data }: Piece): Part {
  const out = new Uint8Array(OFFSET_BYTES + data.length);
  new DataView(out.buffer).setUint32(0, offset % U32, true);
  out.set(data, OFFSET_BYTES);
  return { kind: KIND_STREAM, data: out };
}

/** The piece in the data of a part of KIND_STREAM; its offset is modulo 2³². */
export function streamPiece(data: Uint8Array): Piece {
  const offset = new DataView(data.buffer, data.byteOffset, data.length).getUint32(0, true);
  return { offset, data: data.subarray(OFFSET_BYTES) };
}

interface Said {
  offset: number;
  size: number;
  sentMs: number;
  /** Said more than once: its acknowledgement says nothing about the round trip (Karn and Partridge, 1987). */
  again: boolean;
}

/**
 * What this end says reliably. Told the time in milliseconds; asked for bytes whenever a datagram has room.
 *
 * What is not acknowledged in time is said again from the first gap on: one piece, and twice as many with each further gap of
 * the same flight, because `received` names one gap at a time. Waiting times are those of RFC 6298.
 */
export class StreamOut {
  /** From `acked` on. */
  private bytes: Bytes = new Uint8Array(0);
  private acked = 0;
  private sent = 0;
  /** Said and not acknowledged, by offset. */
  private said: Said[] = [];
  private rttMs: number | null = null;
  private spreadMs = 0;
  private slower = 1;
  private burst = 1;
  /** Pieces that may be said again now. */
  private left = 0;
  private recover = 0;

  /** Bytes that are not acknowledged, or not even said. */
  get waitingBytes(): number {
    return this.bytes.length;
  }

  private get waitMs(): number {
    if (this.rttMs === null) return Math.min(FIRST_WAIT_MS * this.slower, WAIT_MS_MAX);
    const waitMs = this.rttMs + Math.max(PATIENCE_MS, 4 * this.spreadMs);
    return Math.max(waitMs, Math.min(waitMs * this.slower, WAIT_MS_MAX));
  }

  push(message: Uint8Array): void {
    const grown = new Uint8Array(this.bytes.length + SIZE_BYTES + message.length);
    grown.set(this.bytes);
    new DataView(grown.buffer).setUint32(this.bytes.length, message.length, true);
    grown.set(message, this.bytes.length + SIZE_BYTES);
    this.bytes = grown;
  }

  /** At most `room` bytes to be put into a datagram now, or null. */
  take(nowMs: number, room: number): Piece | null {
    if (room <= 0) return null;
    const late = this.late(nowMs);
    if (late !== null) {
      if (room < late.size) {
        const rest = { ...late, offset: late.offset + room, size: late.size - room };
        this.said.splice(this.said.indexOf(late) + 1, 0, rest);
        late.size = room;
      }
      late.sentMs = nowMs;
      late.again = true;
      return this.piece(late);
    }
    const size = Math.min(room, Math.min(this.bytes.length, STREAM_WINDOW_BYTES) - (this.sent - this.acked));
    if (size <= 0) return null;
    const fresh = { offset: this.sent, size, sentMs: nowMs, again: false };
    this.said.push(fresh);
    this.sent += size;
    return this.piece(fresh);
  }

  private piece({ offset, size }: Said): Piece {
    const first = offset - this.acked;
    return { offset, data: this.bytes.slice(first, first + size) };
  }

  /** The next piece to be said again, if its time has come. */
  private late(nowMs: number): Said | null {
    const first = this.said[0];
    let { waitMs } = this;
    if (first !== undefined && nowMs >= first.sentMs + waitMs) {
      this.left = this.burst;
      this.recover = this.sent;
      this.burst = Math.min(2 * this.burst, BURST_MAX);
      this.slower *= 2;
    } else if (this.left > 0) waitMs = this.rttMs ?? FIRST_WAIT_MS;
    else return null;
    const found = this.left > 0 ? this.said.find((piece) => nowMs >= piece.sentMs + waitMs) : undefined;
    this.left = found === undefined ? 0 : this.left - 1;
    return found ?? null;
  }

  /** The other end has all before `received` (u32). Throws ProtocolError if that was never said. */
  acknowledged(received: number, nowMs: number): void {
    const gained = (((received - this.acked) % U32) + U32) % U32;
    if (gained === 0 || gained > U32 / 2) return; // nothing new, or an older datagram that came late
    if (gained > this.sent - this.acked) throw new ProtocolError("a stream is acknowledged beyond what was said in it");
    this.acked += gained;
    this.bytes = this.bytes.slice(gained);
    const covered = this.said.filter((piece) => piece.offset + piece.size <= this.acked);
    this.said = this.said.slice(covered.length);
    const newest = covered.at(-1);
    // What came behind a gap was acknowledged late: such flights are not measured either.
    if (newest !== undefined && !covered.some((piece) => piece.again)) this.measured(nowMs - newest.sentMs);
    const front = this.said[0];
    if (front !== undefined && front.offset < this.acked) {
      front.size -= this.acked - front.offset;
      front.offset = this.acked;
    }
    if (this.acked >= this.recover) {
      this.burst = 1;
      this.left = 0;
    } else if (front !== undefined) {
      // The next gap of a flight that had one: another round trip of waiting would tell nothing new.
      this.left = this.burst;
      this.burst = Math.min(2 * this.burst, BURST_MAX);
    }
  }

  private measured(rttMs: number): void {
    if (this.rttMs === null) {
      this.rttMs = rttMs;
      this.spreadMs = rttMs / 2;
    } else {
      this.spreadMs += (Math.abs(this.rttMs - rttMs) - this.spreadMs) / 4;
      this.rttMs += (rttMs - this.rttMs) / 8;
    }
    this.slower = 1;
  }
}

/**
 * What the server says reliably, put together again; pieces may come in any order, and more than once.
 *
 * Invariant: it holds at most the window and one message, in at most GAPS_MAX + 1 pieces.
 */
export class StreamIn {
  /** From `begin` on, with zeros where nothing has come. */
  private bytes: Bytes = new Uint8Array(0);
  private begin = 0;
  /** [first, end) of what came behind a gap, in order, none touching another. */
  private ahead: (readonly [number, number])[] = [];
  /** Bytes that have come without a gap. */
  received = 0;

  constructor(private readonly messageBytesMax: number) {}

  /** A piece came; returns the messages that are whole now, each in a buffer of its own. Throws ProtocolError for what is beyond the
   * window, and for a message that is too large. */
  take({ offset, data }: Piece): Bytes[] {
    const behind = (((this.received - offset) % U32) + U32) % U32;
    const first = behind < U32 / 2 ? this.received - behind : this.received + (U32 - behind);
    const end = first + data.length;
    if (end > this.received + STREAM_WINDOW_BYTES) {
      throw new ProtocolError("a stream goes on beyond what may be unacknowledged");
    }
    const start = Math.max(first, this.received);
    if (start >= end || !this.note(start, end)) return [];
    const missing = end - this.begin - this.bytes.length;
    if (missing > 0) {
      const grown = new Uint8Array(this.bytes.length + missing);
      grown.set(this.bytes);
      this.bytes = grown;
    }
    this.bytes.set(data.subarray(start - first), start - this.begin);
    return this.whole();
  }

  /** Whether there is room for one more piece; `received` moves if it closes the first gap. */
  private note(start: number, end: number): boolean {
    const touching = this.ahead.filter(([from, to]) => from <= end && start <= to);
    const ahead = this.ahead.filter((piece) => !touching.includes(piece));
    const from = Math.min(start, ...touching.map((piece) => piece[0]));
    const to = Math.max(end, ...touching.map((piece) => piece[1]));
    if (from === this.received) this.received = to;
    else if (ahead.length >= GAPS_MAX) return false;
    else {
      ahead.push([from, to]);
      ahead.sort((a, b) => a[0] - b[0]);
    }
    this.ahead = ahead;
    return true;
  }

  private whole(): Bytes[] {
    const out: Bytes[] = [];
    const known = this.received - this.begin;
    const view = new DataView(this.bytes.buffer);
    let at = 0;
    while (known - at >= SIZE_BYTES) {
      const size = view.getUint32(at, true);
      if (size > this.messageBytesMax) throw new ProtocolError(`a message of ${size} bytes in a stream`);
      if (known - at < SIZE_BYTES + size) break;
      out.push(this.bytes.slice(at + SIZE_BYTES, at + SIZE_BYTES + size));
      at += SIZE_BYTES + size;
    }
    if (at > 0) this.bytes = this.bytes.slice(at);
    this.begin += at;
    return out;
  }
}
