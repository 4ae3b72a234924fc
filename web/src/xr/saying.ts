/**
 * The own head and hands on their way out: up to three samples in a POSE, 20 times a second (STANDARD.md §11).
 *
 * Frames of a headset come faster than samples are said, so the newest one is taken and those that lie about a third of the time before
 * it. Invariants: nothing older than one message's worth is kept; what was lost is not said again; nothing is made but the message.
 * Told times; asks for none. Not responsible for: connections (net/), tracking (headset.ts).
 */
import {
  newPose,
  PART_STRIDE,
  PARTS,
  SAMPLE_BYTES,
  SAMPLES_MAX,
  TRACKED_HEAD,
  writeSample,
  type Pose,
} from "../protocol/poses";

const EVERY_MS = 50;
/** Frames remembered: 50 ms at 144 Hz. */
const KEPT = 8;

export class PoseSayer {
  private readonly poses: readonly Pose[] = Array.from({ length: KEPT }, newPose);
  private readonly times = new Float64Array(KEPT);
  private count = 0;
  private newest = 0;
  private saidMs = -Infinity;
  private readonly bytes = new Uint8Array(SAMPLES_MAX * SAMPLE_BYTES);
  private readonly view = new DataView(this.bytes.buffer);

  /** Where head and hands are now, in the world, and the body's feet. */
  track(pose: Pose, feetX: number, feetY: number, feetZ: number, nowMs: number): void {
    if ((pose.tracked & TRACKED_HEAD) === 0) return;
    this.newest = (this.newest + 1) % KEPT;
    this.count = Math.min(KEPT, this.count + 1);
    this.times[this.newest] = nowMs;
    const kept = this.poses[this.newest];
    if (kept === undefined) return;
    kept.tracked = pose.tracked;
    kept.parts.set(pose.parts);
    kept.grips.set(pose.grips);
    for (let part = 0; part < PARTS; part++) {
      const at = part * PART_STRIDE;
      kept.parts[at] = (kept.parts[at] ?? 0) - feetX;
      kept.parts[at + 1] = (kept.parts[at + 1] ?? 0) - feetY;
      kept.parts[at + 2] = (kept.parts[at + 2] ?? 0) - feetZ;
    }
  }

  /** The samples to say now, oldest first; null: it is not time, or there is nothing new. */
  say(nowMs: number): Uint8Array | null {
    if (this.count === 0 || nowMs - this.saidMs < EVERY_MS - 2) return null;
    this.saidMs = nowMs;
    let samples = 0;
    let lastBack = Infinity;
    for (let third = SAMPLES_MAX - 1; third >= 0; third--) {
      const back = this.nearestTo(nowMs - (third * EVERY_MS) / SAMPLES_MAX);
      if (back === null || back >= lastBack) continue;
      lastBack = back;
      const slot = (this.newest + KEPT - back) % KEPT;
      const pose = this.poses[slot];
      if (pose === undefined) continue;
      writeSample(this.view, SAMPLE_BYTES * samples, pose, nowMs - (this.times[slot] ?? nowMs));
      samples++;
    }
    this.count = 0;
    return this.bytes.subarray(0, SAMPLE_BYTES * samples);
  }

  clear(): void {
    this.count = 0;
  }

  /** How many frames before the newest one is nearest to a time. */
  private nearestTo(timeMs: number): number | null {
    let best: number | null = null;
    let least = Infinity;
    for (let back = 0; back < this.count; back++) {
      const off = Math.abs((this.times[(this.newest + KEPT - back) % KEPT] ?? 0) - timeMs);
      if (off < least) [best, least] = [back, off];
    }
    return best;
  }
}
