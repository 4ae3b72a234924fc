/**
 * VALUES: what a FRAME is over datagrams, and the records by frame that its deltas refer to (STANDARD.md §9.4).
 *
 * Invariants: whatever counts as come is held, so that a server may name it as a base; what came before structure that it builds on
 * waits, and nothing is lost by waiting. What is shown of a number is the record of its greatest frame, whatever the order in which
 * frames came. A server that broke the standard gets a ProtocolError: reconnect.
 */
import { ProtocolError } from "./codes";
import type { Structure, Values } from "./frames";
import { serialDistance, VELOCITY_PER_GRID } from "./layouts";
import { Records } from "./records";

const BASE_MAX = 255;
const EARLIER_BITS = 64;
/** Messages that wait for structure; what comes while so many do is as good as lost, and does not count as come. */
const WAITING_MAX = 256;
const U64 = 2n ** 64n - 1n;

/** Whether the u32 `a` is ahead of `b`, modulo 2³². */
function newer(a: number, b: number): boolean {
  return serialDistance(a, b) > 0;
}

/** Which frames have come: what INPUT and ACK name. */
export class Arrivals {
  /** 0: none yet. */
  newest = 0;
  /** Bit i is set if `newest` − 1 − i has come. */
  earlier = 0n;

  /** Whether nothing that came is ahead of `frame`. */
  isNewest(frame: number): boolean {
    return this.newest === 0 || newer(frame, this.newest);
  }

  /** Whether it has not come, and can still be acknowledged. */
  isNew(frame: number): boolean {
    if (this.isNewest(frame)) return true;
    const behind = serialDistance(this.newest, frame);
    return behind >= 1 && behind <= EARLIER_BITS && ((this.earlier >> BigInt(behind - 1)) & 1n) === 0n;
  }

  /** It has come; only for what `isNew`. */
  note(frame: number): void {
    const ahead = serialDistance(frame, this.newest);
    if (this.newest === 0) this.newest = frame;
    else if (ahead >= 0) {
      // A frame may be far ahead: shifting by that would ask for more memory than there is.
      const kept = ahead <= EARLIER_BITS ? ((this.earlier << 1n) | 1n) << BigInt(ahead - 1) : 0n;
      this.newest = frame;
      this.earlier = kept & U64;
    } else this.earlier |= 1n << BigInt(-ahead - 1);
  }
}

/** A record as a base. */
interface Row {
  readonly tick: number;
  readonly p: readonly number[];
  readonly v: readonly number[];
}

/** The records of one number, by frame. */
class Held {
  readonly rows = new Map<number, Row>();
  /** The greatest frame with a record. */
  private shown: number;
  /** The greatest frame that named a base, and that base: older records are forgotten. */
  namer: number;
  base: number;

  /** `entered`: the structure message that it entered with. */
  constructor(
    readonly entered: number,
    frame: number,
    row: Row,
  ) {
    this.rows.set(frame, row);
    this.shown = this.namer = this.base = frame;
  }

  /** A value of `frame` refers to the record of `base`. */
  named(base: number, frame: number): void {
    if (!newer(frame, this.namer)) return;
    if (newer(base, this.base)) {
      for (const held of this.rows.keys()) if (newer(base, held)) this.rows.delete(held);
      this.base = base;
    }
    this.namer = frame;
  }

  /** A record; returns whether it is the one to show. */
  add(frame: number, row: Row): boolean {
    if (this.rows.size > EARLIER_BITS) {
      const newest = newer(frame, this.shown) ? frame : this.shown;
      // Nothing that can still come names an older base.
      for (const held of this.rows.keys()) {
        if ((newest - held) >>> 0 > BASE_MAX + EARLIER_BITS) this.rows.delete(held);
      }
    }
    this.rows.set(frame, row);
    if (newer(this.shown, frame)) return false;
    this.shown = frame;
    return true;
  }
}

interface Change {
  readonly number: number;
  readonly held: Held;
  readonly row: Row;
  readonly yaw: number;
}

/** What this page holds of one stream over datagrams. Give `heard` whatever comes, in whatever order, and structure messages to
 * `countStructure` and `applyStructure` in theirs; then `release`. */
export class ValueRecords extends Records {
  readonly arrivals = new Arrivals();
  private held = new Map<number, Held>();
  /** In order of `frame`. */
  private waits: Values[] = [];

  /** How many VALUES wait for structure. */
  get waiting(): number {
    return this.waits.length;
  }

  override clear(): void {
    super.clear();
    this.held.clear();
  }

  override applyStructure(s: Structure, onLeave: (number: number) => void, onEnter: (number: number) => void): void {
    super.applyStructure(s, onLeave, onEnter);
    for (const number of s.leaveNumber) this.held.delete(number);
    for (const number of s.enterNumber) {
      const at = 3 * number;
      const row = {
        tick: this.recordTick[number] ?? 0,
        p: [...this.p.subarray(at, at + 3)],
        v: [...this.v.subarray(at, at + 3)],
      };
      this.held.set(number, new Held(s.sseq, s.frame, row));
    }
  }

  override applyFrame(): void {
    throw new ProtocolError("FRAME over datagrams, where values come as VALUES");
  }

  /** VALUES came: apply them, or keep them until their structure has come. Returns false, and changes nothing, if they came before, or
   * too late to be of use. `onChange` is told each number before its record changes. */
  heard(f: Values, onChange: (number: number) => void): boolean {
    if (!this.arrivals.isNew(f.frame)) return false;
    if (newer(f.sseq, this.sseq)) {
      if (this.waits.length >= WAITING_MAX) return false;
      this.waits.push(f);
      this.waits.sort((a, b) => ((a.frame - this.frame) >>> 0) - ((b.frame - this.frame) >>> 0));
    } else if (!this.applyValues(f, onChange)) return false;
    this.arrivals.note(f.frame);
    return true;
  }

  /** Apply what has waited for the structure messages that came. */
  release(onChange: (number: number) => void): void {
    const ready = this.waits.filter((f) => !newer(f.sseq, this.sseq));
    if (ready.length === 0) return;
    this.waits = this.waits.filter((f) => newer(f.sseq, this.sseq));
    for (const f of ready) {
      if (!this.applyValues(f, onChange))
        throw new ProtocolError(`VALUES ${f.frame} name a base that was given up before`);
    }
  }

  /** What is held of a number, if `f` can mean it: null for one that left, or entered later. */
  private mine(f: Values, number: number): Held | null {
    const held = this.held.get(number);
    if (held !== undefined && !newer(held.entered, f.sseq)) return held;
    if (f.sseq === this.sseq) throw new ProtocolError(`VALUES: number ${number} does not live in this stream`);
    return null;
  }

  /** Returns false, and changes nothing, if a base is named that a later frame made us forget: to the server this is a lost one. */
  private applyValues(f: Values, onChange: (number: number) => void): boolean {
    const changes: Change[] = [];
    const named: { readonly held: Held; readonly frame: number }[] = [];
    const deltas = f.deltaNumber.length;
    for (let i = 0; i < deltas; i++) {
      const number = f.deltaNumber[i] ?? 0;
      const held = this.mine(f, number);
      if (held === null) continue;
      const frame = (f.frame - (f.deltaBase[i] ?? 0)) >>> 0;
      const base = held.rows.get(frame);
      if (base === undefined) {
        if (newer(held.namer, f.frame) && newer(held.base, frame)) return false;
        throw new ProtocolError(`VALUES: number ${number} has no record of frame ${frame}`);
      }
      named.push({ held, frame });
      const dt = f.tick - base.tick;
      const p = base.p.map((place, axis) => {
        const moved = Math.floor(((base.v[axis] ?? 0) * dt + VELOCITY_PER_GRID / 2) / VELOCITY_PER_GRID);
        return place + moved + (f.deltaD[axis * deltas + i] ?? 0);
      });
      const v = base.v.map((speed, axis) => speed + (f.deltaDv[axis * deltas + i] ?? 0));
      changes.push({ number, held, row: { tick: f.tick, p, v }, yaw: f.deltaYaw[i] ?? 0 });
    }
    const fulls = f.fullNumber.length;
    for (let i = 0; i < fulls; i++) {
      const number = f.fullNumber[i] ?? 0;
      const held = this.mine(f, number);
      if (held === null) continue;
      const p = f.origin.map((from, axis) => from + (f.fullP[axis * fulls + i] ?? 0));
      const v = [0, 1, 2].map((axis) => f.fullV[axis * fulls + i] ?? 0);
      changes.push({ number, held, row: { tick: f.tick - (f.fullAge[i] ?? 0), p, v }, yaw: f.fullYaw[i] ?? 0 });
    }
    for (const { held, frame } of named) held.named(frame, f.frame);
    for (const { number, held, row, yaw } of changes) {
      if (!held.add(f.frame, row)) continue;
      onChange(number);
      this.recordTick[number] = row.tick;
      this.p.set(row.p, 3 * number);
      this.v.set(row.v, 3 * number);
      this.yaw[number] = yaw;
    }
    if (this.frame === 0 || newer(f.frame, this.frame)) {
      this.frame = f.frame;
      this.tick = f.tick;
    }
    return true;
  }
}
