/**
 * POSE and POSES: where head and hands of people in headsets are (STANDARD.md §11).
 *
 * Invariants: a rotation that was unpacked is a unit quaternion whatever its bits were; nothing here makes objects but `decodePoses`,
 * once for each message. Not responsible for: when a pose is said (xr/saying.ts), what is shown (world/poses.ts).
 */
import { ProtocolError } from "./codes";
import { Columns } from "./frames";
import type { Items } from "./messages";

/** Parts: the head, the left hand, the right hand. */
export const HEAD = 0;
export const LEFT = 1;
export const RIGHT = 2;
export const PARTS = 3;
/** Numbers of a part: x, y, z in metres, and its rotation x, y, z, w. */
export const PART_STRIDE = 7;
export const TRACKED_HEAD = 1;
export const TRACKED_ALL = 7;

export const SAMPLE_BYTES = 34;
export const SAMPLES_MAX = 3;
export const BACK_MS_MAX = 255;
const POSE_PER_M = 1024;
const FINE_PER_M = 256;
const FINE_HALF = 512;
const COARSE_PER_M = 16;
const COARSE_HALF = 16;
const FINE_BITS = 10;
const FINE_ROTATION_HALF = 511;
const COARSE_BITS = 5;
const COARSE_ROTATION_HALF = 15;
/** Over the feet: what a head is told relative to. */
const CHEST_M = 1.25;
export const NO_HAND = 0xffff;
const GRIP_MOST = 15;

/** Head and hands at one moment. What `tracked` does not name (1 head, 2 left, 4 right) is left as it was. */
export interface Pose {
  tracked: number;
  /** PARTS times PART_STRIDE. */
  readonly parts: Float32Array;
  /** How far they are pressed, 0 to 1: left grip, left trigger, right grip, right trigger. */
  readonly grips: Float32Array;
}

export function newPose(): Pose {
  const pose = { tracked: 0, parts: new Float32Array(PARTS * PART_STRIDE), grips: new Float32Array(4) };
  for (let part = 0; part < PARTS; part++) pose.parts[part * PART_STRIDE + 6] = 1;
  return pose;
}

export interface Poses {
  readonly type: "poses";
  readonly stream: number;
  readonly tick: number;
  readonly sseq: number;
  /** Of each part, for all samples. */
  readonly nearP: readonly [Uint32Array, Uint32Array, Uint32Array];
  readonly nearQ: readonly [Uint32Array, Uint32Array, Uint32Array];
  readonly midHead: Uint32Array;
  readonly nearNumber: Uint16Array;
  readonly midNumber: Uint16Array;
  readonly midHand: readonly [Uint16Array, Uint16Array];
  readonly nearSamples: Uint8Array;
  readonly backMs: Uint8Array;
  readonly tracked: Uint8Array;
  readonly grip: readonly [Uint8Array, Uint8Array];
}

/** The smallest three of the quaternion of any length above 0 at `q[at]`: three components of 10 bits, and above them the index of the largest. */
export function packRotation(q: ArrayLike<number>, at: number): number {
  let largest = 0;
  let square = 0;
  for (let k = 0; k < 4; k++) {
    const c = q[at + k] ?? 0;
    square += c * c;
    if (Math.abs(c) > Math.abs(q[at + largest] ?? 0)) largest = k;
  }
  const scale = ((q[at + largest] ?? 0) > 0 ? 1 : -1) / Math.sqrt(square);
  let packed = largest << (3 * FINE_BITS);
  let shift = 0;
  for (let k = 0; k < 4; k++) {
    if (k === largest) continue;
    packed |= (Math.round((q[at + k] ?? 0) * scale * Math.SQRT2 * FINE_ROTATION_HALF) + FINE_ROTATION_HALF) << shift;
    shift += FINE_BITS;
  }
  return packed >>> 0;
}

function unpack(packed: number, bits: number, half: number, out: Float32Array, at: number): void {
  const mask = (1 << bits) - 1;
  const largest = (packed >>> (3 * bits)) & 3;
  let square = 0;
  for (let k = 0, i = 0; k < 4; k++) {
    if (k === largest) continue;
    const c = (((packed >>> (bits * i)) & mask) - half) / (half * Math.SQRT2);
    square += c * c;
    out[at + k] = c;
    i++;
  }
  out[at + largest] = Math.sqrt(Math.max(0, 1 - square));
  if (square <= 1) return;
  const scale = 1 / Math.sqrt(square);
  for (let k = 0; k < 4; k++) if (k !== largest) out[at + k] = (out[at + k] ?? 0) * scale;
}

/** Writes the unit quaternion x, y, z, w to `out[at]`; off by at most 0.3°. */
export function unpackFine(packed: number, out: Float32Array, at: number): void {
  unpack(packed, FINE_BITS, FINE_ROTATION_HALF, out, at);
}

/** As `unpackFine`, of 17 bits; off by at most 10°. */
export function unpackCoarse(packed: number, out: Float32Array, at: number): void {
  unpack(packed, COARSE_BITS, COARSE_ROTATION_HALF, out, at);
}

/** One sample of a POSE at `at`. `pose`: metres from the body's feet, in the world's axes. */
export function writeSample(view: DataView, at: number, pose: Pose, backMs: number): void {
  const { tracked, parts, grips } = pose;
  view.setUint8(at, Math.min(BACK_MS_MAX, Math.max(0, Math.round(backMs))));
  view.setUint8(at + 1, tracked);
  for (let hand = 0; hand < 2; hand++) {
    const isTracked = (tracked & (2 << hand)) !== 0;
    view.setUint8(at + 2 + hand, isTracked ? 16 * nibble(grips[2 * hand]) + nibble(grips[2 * hand + 1]) : 0);
  }
  for (let part = 0; part < PARTS; part++) {
    const from = part * PART_STRIDE;
    const isTracked = (tracked & (1 << part)) !== 0;
    view.setUint32(at + 4 + 4 * part, isTracked ? packRotation(parts, from + 3) : 0, true);
    for (let axis = 0; axis < 3; axis++) {
      const value = isTracked ? Math.round((parts[from + axis] ?? 0) * POSE_PER_M) : 0;
      view.setInt16(at + 16 + 6 * part + 2 * axis, Math.max(-32768, Math.min(32767, value)), true);
    }
  }
}

function nibble(value: number | undefined): number {
  return Math.round(Math.min(1, Math.max(0, value ?? 0)) * GRIP_MOST);
}

export function decodePoses(r: Items): Poses {
  const [stream, tick, sseq] = [r.number(), r.number(), r.number()];
  const c = new Columns(r.bin(), "POSES");
  const [n = 0, m = 0, s = 0] = c.take(Uint16Array, 4);
  const words = (): [Uint32Array, Uint32Array] => [c.take(Uint32Array, s), c.take(Uint32Array, s)];
  const [head, left, right] = [words(), words(), words()];
  const [midHead, nearNumber, midNumber] = [c.take(Uint32Array, m), c.take(Uint16Array, n), c.take(Uint16Array, m)];
  const midHand = [c.take(Uint16Array, m), c.take(Uint16Array, m)] as const;
  const [nearSamples, backMs, tracked] = [c.take(Uint8Array, n), c.take(Uint8Array, s), c.take(Uint8Array, s)];
  const grip = [c.take(Uint8Array, s), c.take(Uint8Array, s)] as const;
  if (nearSamples.some((count) => count > SAMPLES_MAX)) throw new ProtocolError("POSES: too many samples of one");
  if (nearSamples.reduce((sum, count) => sum + count, 0) !== s)
    throw new ProtocolError("POSES: samples that are nobody's");
  if (tracked.some((bits) => bits > TRACKED_ALL || (bits & TRACKED_HEAD) === 0)) {
    throw new ProtocolError("POSES: a sample without a head");
  }
  return {
    type: "poses",
    ...{ stream, tick, sseq, midHead, nearNumber, midNumber, midHand, nearSamples, backMs, tracked, grip },
    nearP: [head[0], left[0], right[0]],
    nearQ: [head[1], left[1], right[1]],
  };
}

/** Near sample `i` of a message, in metres from where its entity is shown. */
export function readNear(m: Poses, i: number, out: Pose): void {
  out.tracked = m.tracked[i] ?? 0;
  const { parts, grips } = out;
  for (let part = 0; part < PARTS; part++) {
    if ((out.tracked & (1 << part)) === 0) continue;
    const at = part * PART_STRIDE;
    const word = m.nearP[part as 0 | 1 | 2][i] ?? 0;
    for (let axis = 0; axis < 3; axis++) {
      const value = (((word >>> (FINE_BITS * axis)) & 1023) - FINE_HALF) / FINE_PER_M;
      const from = part === HEAD ? (axis === 1 ? CHEST_M : 0) : (parts[axis] ?? 0);
      parts[at + axis] = from + value;
    }
    unpackFine(m.nearQ[part as 0 | 1 | 2][i] ?? 0, parts, at + 3);
  }
  for (let hand = 0; hand < 2; hand++) {
    const byte = m.grip[hand as 0 | 1][i] ?? 0;
    grips[2 * hand] = (byte >> 4) / GRIP_MOST;
    grips[2 * hand + 1] = (byte & 15) / GRIP_MOST;
  }
}

/** Mid entry `i` of a message; its hands have no rotation, and their grip is 0 or 1. */
export function readMid(m: Poses, i: number, out: Pose): void {
  const head = m.midHead[i] ?? 0;
  const { parts, grips } = out;
  out.tracked = TRACKED_HEAD;
  for (let axis = 0; axis < 3; axis++) {
    const value = (((head >>> (17 + COARSE_BITS * axis)) & 31) - COARSE_HALF) / COARSE_PER_M;
    parts[axis] = (axis === 1 ? CHEST_M : 0) + value;
  }
  unpackCoarse(head & 0x1ffff, parts, 3);
  for (let hand = 0; hand < 2; hand++) {
    const word = m.midHand[hand as 0 | 1][i] ?? NO_HAND;
    const isTracked = word !== NO_HAND;
    grips[2 * hand] = isTracked ? word >> 15 : 0;
    grips[2 * hand + 1] = 0;
    if (!isTracked) continue;
    out.tracked |= 2 << hand;
    const at = (1 + hand) * PART_STRIDE;
    for (let axis = 0; axis < 3; axis++) {
      parts[at + axis] = (parts[axis] ?? 0) + (((word >> (COARSE_BITS * axis)) & 31) - COARSE_HALF) / COARSE_PER_M;
    }
    parts[at + 3] = parts[at + 4] = parts[at + 5] = 0;
    parts[at + 6] = 1;
  }
}
