/**
 * STRUCTURE and FRAME (STANDARD.md §4): typed arrays laid over the columns of a message, nothing copied.
 *
 * Invariant: what is returned lies within the message's bytes; ProtocolError otherwise. The machine must be little-endian,
 * as every one that runs a browser is. Not responsible for: what the records become (records.ts).
 */
import { ProtocolError } from "./codes";
import { OWN_BYTES, type Vec3 } from "./layouts";
import type { Items } from "./messages";

export interface Structure {
  readonly type: "structure";
  readonly sseq: number;
  readonly tick: number;
  readonly frame: number;
  readonly origin: Vec3;
  readonly enterId: BigUint64Array;
  readonly enterNumber: Uint16Array;
  readonly enterKind: Uint16Array;
  /** px of all, then py of all, then pz of all; the same for velocities. */
  readonly enterP: Int16Array;
  readonly enterV: Int16Array;
  readonly enterAge: Uint8Array;
  readonly enterYaw: Uint8Array;
  readonly enterBlobs: readonly Uint8Array[];
  readonly leaveNumber: Uint16Array;
  readonly stateNumber: Uint16Array;
  readonly stateBlobs: readonly Uint8Array[];
}

/** The own body's state as the server has it. `p` in grid units, `v` in 1/16 grid unit per tick. */
export interface Own {
  readonly seq: number;
  readonly stampMs: number;
  readonly holdMs: number;
  readonly flags: number;
  readonly steps: number;
  readonly p: Vec3;
  readonly v: Vec3;
}

export interface Frame {
  readonly type: "frame";
  readonly stream: number;
  readonly frame: number;
  readonly tick: number;
  readonly sseq: number;
  readonly own: Own | null;
  readonly origin: Vec3;
  readonly deltaNumber: Uint16Array;
  readonly deltaD: Int8Array;
  readonly deltaDv: Int8Array;
  readonly deltaYaw: Uint8Array;
  readonly fullNumber: Uint16Array;
  readonly fullP: Int16Array;
  readonly fullV: Int16Array;
  readonly fullAge: Uint8Array;
  readonly fullYaw: Uint8Array;
}

/** What a FRAME is over datagrams (§9.4): each delta refers to the record of frame `frame` − `deltaBase`. */
export interface Values extends Omit<Frame, "type"> {
  readonly type: "values";
  readonly deltaBase: Uint8Array;
}

type Column<T> = {
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): T;
  readonly BYTES_PER_ELEMENT: number;
};

/** Cuts a block into columns, in order. */
export class Columns {
  private at: number;

  constructor(
    private readonly block: Uint8Array,
    private readonly name: string,
  ) {
    const pads = block[0];
    if (pads === undefined || 1 + pads > block.length) throw new ProtocolError(`${name}: block has no columns`);
    this.at = 1 + pads;
  }

  take<T>(type: Column<T>, length: number): T {
    const bytes = type.BYTES_PER_ELEMENT * length;
    if (this.at + bytes > this.block.length) {
      throw new ProtocolError(`${this.name}: block of ${this.block.length} bytes ends within a column`);
    }
    const offset = this.block.byteOffset + this.at;
    if (offset % type.BYTES_PER_ELEMENT !== 0) throw new ProtocolError(`${this.name}: a column is not aligned`);
    this.at += bytes;
    return new type(this.block.buffer, offset, length);
  }

  blobs(sizes: Uint16Array): Uint8Array[] {
    return Array.from(sizes, (size) => this.take(Uint8Array, size));
  }
}

export function decodeStructure(r: Items): Structure {
  const [sseq, tick, frame, origin] = [r.number(), r.number(), r.number(), r.vec3()];
  const c = new Columns(r.bin(), "STRUCTURE");
  const [enters = 0, leaves = 0, states = 0] = c.take(Uint16Array, 4);
  const enterId = c.take(BigUint64Array, enters);
  const enterNumber = c.take(Uint16Array, enters);
  const enterKind = c.take(Uint16Array, enters);
  const enterP = c.take(Int16Array, 3 * enters);
  const enterV = c.take(Int16Array, 3 * enters);
  const enterBytes = c.take(Uint16Array, enters);
  const leaveNumber = c.take(Uint16Array, leaves);
  const stateNumber = c.take(Uint16Array, states);
  const stateBytes = c.take(Uint16Array, states);
  const enterAge = c.take(Uint8Array, enters);
  const enterYaw = c.take(Uint8Array, enters);
  const enterBlobs = c.blobs(enterBytes);
  const stateBlobs = c.blobs(stateBytes);
  return {
    type: "structure",
    ...{ sseq, tick, frame, origin, enterId, enterNumber, enterKind, enterP, enterV, enterAge, enterYaw, enterBlobs },
    ...{ leaveNumber, stateNumber, stateBlobs },
  };
}

const NO_BLOCK = new Uint8Array(6).subarray(1); // zero pads, zero deltas, zero fulls; the counts at an even offset

export function decodeFrame(r: Items): Frame {
  return { type: "frame", ...decodeChanges(r, "FRAME", false) };
}

export function decodeValues(r: Items): Values {
  const values = decodeChanges(r, "VALUES", true);
  if (values.deltaBase.includes(0)) throw new ProtocolError("VALUES: bases are from 1 to 255");
  return { type: "values", ...values };
}

/** What FRAME and VALUES have in common; `deltaBase` is empty without `bases`. */
function decodeChanges(r: Items, name: string, bases: boolean): Omit<Values, "type"> {
  const [stream, frame, tick, sseq] = [r.number(), r.number(), r.number(), r.number()];
  const own = r.optional(() => decodeOwn(r.bin()));
  const origin = r.optional(() => r.vec3());
  const c = new Columns(r.optional(() => r.bin()) ?? NO_BLOCK, name);
  const [deltas = 0, fulls = 0] = c.take(Uint16Array, 2);
  if (fulls > 0 && origin === null) throw new ProtocolError(`${name}: full records without an origin`);
  const deltaNumber = c.take(Uint16Array, deltas);
  const fullNumber = c.take(Uint16Array, fulls);
  const fullP = c.take(Int16Array, 3 * fulls);
  const fullV = c.take(Int16Array, 3 * fulls);
  const deltaD = c.take(Int8Array, 3 * deltas);
  const deltaDv = c.take(Int8Array, 3 * deltas);
  const deltaYaw = c.take(Uint8Array, deltas);
  const deltaBase = c.take(Uint8Array, bases ? deltas : 0);
  const fullAge = c.take(Uint8Array, fulls);
  const fullYaw = c.take(Uint8Array, fulls);
  return {
    ...{ stream, frame, tick, sseq, own, origin: origin ?? [0, 0, 0] },
    ...{ deltaNumber, deltaD, deltaDv, deltaYaw, deltaBase, fullNumber, fullP, fullV, fullAge, fullYaw },
  };
}

/** The 32 bytes of `own`. They lie unaligned in their message, hence the DataView. */
export function decodeOwn(bytes: Uint8Array): Own {
  if (bytes.length !== OWN_BYTES) throw new ProtocolError(`FRAME: own must be ${OWN_BYTES} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    seq: view.getUint32(0, true),
    stampMs: view.getUint32(4, true),
    holdMs: view.getUint16(8, true),
    flags: view.getUint8(10),
    steps: view.getUint8(11),
    p: [view.getInt32(12, true), view.getInt32(16, true), view.getInt32(20, true)],
    v: [view.getInt16(24, true), view.getInt16(26, true), view.getInt16(28, true)],
  };
}
