/**
 * The records a client keeps of one stream, and the shown position (STANDARD.md §4).
 *
 * Columns are indexed by number. Invariant: `live` numbers have a record, a kind, an id and components. A server that names a
 * number that does not live, enters one that lives, or leaves a gap in its structure gets a ProtocolError: reconnect.
 * Not responsible for: smoothing (world/).
 */
import { ProtocolError } from "./codes";
import type { Frame, Structure } from "./frames";
import { SHOWN_PER_M, VELOCITY_PER_GRID, YAW_STEPS, type Vec3 } from "./layouts";
import { unpack } from "./messages";

const NUMBERS = 65536;
export type Components = Map<number, unknown>;

export class Records {
  sseq = 0;
  frame = 0;
  tick = 0;
  readonly live = new Set<number>();
  readonly id = new BigUint64Array(NUMBERS);
  readonly kind = new Uint16Array(NUMBERS);
  readonly recordTick = new Float64Array(NUMBERS);
  /** x, y, z of number n at 3n, in grid units. */
  readonly p = new Int32Array(3 * NUMBERS);
  /** In 1/16 grid unit per tick. */
  readonly v = new Int32Array(3 * NUMBERS);
  readonly yaw = new Uint8Array(NUMBERS);
  readonly components = new Map<number, Components>();

  /** Forget all entities: the schema has changed. */
  clear(): void {
    this.live.clear();
    this.components.clear();
  }

  /** Note a structure message; they come without a gap. */
  countStructure(sseq: number): void {
    if (sseq !== (this.sseq + 1) >>> 0) throw new ProtocolError(`structure message ${sseq} follows ${this.sseq}`);
    this.sseq = sseq;
  }

  /** Leaves, then enters, then states. `onLeave` and `onEnter` are told each number, `onEnter` with its record in place. */
  applyStructure(s: Structure, onLeave: (number: number) => void, onEnter: (number: number) => void): void {
    this.countStructure(s.sseq);
    for (const number of s.leaveNumber) {
      this.require(number);
      this.live.delete(number);
      this.components.delete(number);
      onLeave(number);
    }
    s.enterNumber.forEach((number, i) => {
      if (this.live.has(number)) throw new ProtocolError(`an enter names number ${number}, which lives`);
      this.live.add(number);
      this.id[number] = s.enterId[i] ?? 0n;
      this.kind[number] = s.enterKind[i] ?? 0;
      this.absolute(number, i, s.tick, s.origin, s.enterP, s.enterV, s.enterAge, s.enterYaw);
      this.components.set(number, new Map());
      this.change(number, s.enterBlobs[i]);
      onEnter(number);
    });
    s.stateNumber.forEach((number, i) => {
      this.require(number);
      this.change(number, s.stateBlobs[i]);
    });
  }

  /** Deltas and fulls. `onChange` is told each number before its record changes. */
  applyFrame(f: Frame, onChange: (number: number) => void): void {
    if (f.sseq !== this.sseq) throw new ProtocolError(`frame builds on structure ${f.sseq}, held is ${this.sseq}`);
    const { p, v, recordTick } = this;
    const deltas = f.deltaNumber.length;
    f.deltaNumber.forEach((number, i) => {
      this.require(number);
      onChange(number);
      const dt = f.tick - (recordTick[number] ?? 0);
      for (let axis = 0; axis < 3; axis++) {
        const at = 3 * number + axis;
        const column = axis * deltas + i;
        const held = v[at] ?? 0;
        p[at] =
          (p[at] ?? 0) + Math.floor((held * dt + VELOCITY_PER_GRID / 2) / VELOCITY_PER_GRID) + (f.deltaD[column] ?? 0);
        v[at] = held + (f.deltaDv[column] ?? 0);
      }
      this.yaw[number] = f.deltaYaw[i] ?? 0;
      recordTick[number] = f.tick;
    });
    f.fullNumber.forEach((number, i) => {
      this.require(number);
      onChange(number);
      this.absolute(number, i, f.tick, f.origin, f.fullP, f.fullV, f.fullAge, f.fullYaw);
    });
    this.frame = f.frame;
    this.tick = f.tick;
  }

  /** The standard's shown position at `tick` in metres, on one axis (0, 1, 2). */
  shownAxis(number: number, axis: number, tick: number): number {
    const at = 3 * number + axis;
    const dt = tick - (this.recordTick[number] ?? 0);
    return (VELOCITY_PER_GRID * (this.p[at] ?? 0) + (this.v[at] ?? 0) * dt) / SHOWN_PER_M;
  }

  /** Shown position at `tick`: x, y, z in metres. */
  shown(number: number, tick: number): Vec3 {
    return [this.shownAxis(number, 0, tick), this.shownAxis(number, 1, tick), this.shownAxis(number, 2, tick)];
  }

  /** Yaw in radians: counter-clockwise seen from above, 0 looks along −Z. */
  yawOf(number: number): number {
    return ((this.yaw[number] ?? 0) / YAW_STEPS) * 2 * Math.PI;
  }

  private absolute(
    number: number,
    i: number,
    tick: number,
    origin: Vec3,
    p: Int16Array,
    v: Int16Array,
    age: Uint8Array,
    yaw: Uint8Array,
  ): void {
    const count = p.length / 3;
    for (let axis = 0; axis < 3; axis++) {
      this.p[3 * number + axis] = (origin[axis] ?? 0) + (p[axis * count + i] ?? 0);
      this.v[3 * number + axis] = v[axis * count + i] ?? 0;
    }
    this.recordTick[number] = tick - (age[i] ?? 0);
    this.yaw[number] = yaw[i] ?? 0;
  }

  private change(number: number, blob: Uint8Array | undefined): void {
    const held = this.components.get(number);
    if (held === undefined || blob === undefined) return;
    const changes = unpack(blob);
    if (typeof changes !== "object" || changes === null || Array.isArray(changes)) {
      throw new ProtocolError("a component blob must be a map");
    }
    // The library gives integer keys of a map as the property names of an object.
    for (const [key, value] of Object.entries(changes)) {
      if (value === null) held.delete(Number(key));
      else held.set(Number(key), value);
    }
  }

  private require(number: number): void {
    if (!this.live.has(number)) throw new ProtocolError(`number ${number} does not live in this stream`);
  }
}
