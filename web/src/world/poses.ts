/**
 * Others' heads and hands as they are shown: a few samples of each, and what lies between two of them (STANDARD.md §11).
 *
 * A pose is shown somewhat behind the present, by the time that lies between two messages about that person, so that there is nearly
 * always a sample on either side. What rests is not told: the last sample holds, and when motion begins again it holds until just
 * before the new one. Invariants: of each number the newest message counts; samples of a number have ascending times; nothing
 * allocates after the constructor. Told ticks; asks for no time. Not responsible for: where bodies are (entities.ts).
 */
import type { Structure } from "../protocol/frames";
import { NUMBERS_MAX, serialDistance } from "../protocol/layouts";
import { newPose, PART_STRIDE, PARTS, readMid, readNear, type Pose, type Poses } from "../protocol/poses";

/** Samples kept of each: two messages of three, and what they continue. */
const SLOTS = 8;
const VALUES = PARTS * PART_STRIDE;
const STRIDE = VALUES + 4 + 1;
/** How far behind the present a pose is shown, beside the time between two messages. */
const MARGIN_TICKS = 0.5;
const SPACING_MOST = 6;
/** After a silence of so many messages the one before has held until now. */
const SILENCE = 2.5;

export class PoseTracks {
  private readonly values = new Float32Array(NUMBERS_MAX * SLOTS * STRIDE);
  private readonly times = new Float64Array(NUMBERS_MAX * SLOTS);
  private readonly newest = new Uint8Array(NUMBERS_MAX);
  private readonly counts = new Uint8Array(NUMBERS_MAX);
  private readonly entered = new Float64Array(NUMBERS_MAX).fill(-1);
  private readonly told = new Float64Array(NUMBERS_MAX);
  /** Ticks between two messages about a number. */
  private readonly spacing = new Float64Array(NUMBERS_MAX);
  private readonly scratch = newPose();

  /** Another stream, or all entities are forgotten. */
  begin(): void {
    this.counts.fill(0);
    this.entered.fill(-1);
  }

  /** Entities leave and enter. */
  structure(s: Structure): void {
    for (const number of s.leaveNumber) this.forget(number);
    for (const number of s.enterNumber) {
      this.forget(number);
      if (number < NUMBERS_MAX) this.entered[number] = s.sseq;
    }
  }

  /** `rateHz`: ticks in a second. What is older than what is held, or about entities that are not there, is passed over. */
  tell(m: Poses, rateHz: number): void {
    let i = 0;
    for (let k = 0; k < m.nearNumber.length; k++) {
      const [number = 0, samples = 0] = [m.nearNumber[k], m.nearSamples[k]];
      const isNews = this.isNews(number, m, 1);
      if (isNews && samples === 0) this.counts[number] = 0;
      for (let s = 0; s < samples; s++, i++) {
        if (!isNews) continue;
        readNear(m, i, this.scratch);
        this.add(number, m.tick - ((m.backMs[i] ?? 0) / 1000) * rateHz);
      }
    }
    for (let k = 0; k < m.midNumber.length; k++) {
      const number = m.midNumber[k] ?? 0;
      if (!this.isNews(number, m, 4)) continue;
      readMid(m, k, this.scratch);
      this.add(number, m.tick);
    }
  }

  /** How many there are whose head and hands are known. */
  get count(): number {
    return this.counts.reduce((sum, count) => sum + Number(count > 0), 0);
  }

  /** Whether there is a pose of `number`; if so `out` is it at `tick` (the present one), in metres from where the entity is shown. */
  shown(number: number, tick: number, out: Pose): boolean {
    const count = this.counts[number] ?? 0;
    if (count === 0) return false;
    const at = tick - (this.spacing[number] ?? 0) - MARGIN_TICKS;
    const newest = this.newest[number] ?? 0;
    let later = newest;
    let earlier = newest;
    for (let back = 0; back < count; back++) {
      earlier = (newest + SLOTS - back) % SLOTS;
      if (this.time(number, earlier) <= at) break;
      later = earlier;
    }
    const t0 = this.time(number, earlier);
    const t1 = this.time(number, later);
    this.mix(number, earlier, later, t1 > t0 ? Math.min(1, Math.max(0, (at - t0) / (t1 - t0))) : 1, out);
    return true;
  }

  private time(number: number, slot: number): number {
    return this.times[number * SLOTS + slot] ?? 0;
  }

  private mix(number: number, earlier: number, later: number, part: number, out: Pose): void {
    const { values } = this;
    const a = (number * SLOTS + earlier) * STRIDE;
    const b = (number * SLOTS + later) * STRIDE;
    const before = values[a + STRIDE - 1] ?? 0;
    const after = values[b + STRIDE - 1] ?? 0;
    out.tracked = after;
    for (let i = 0; i < PARTS; i++) {
      // A part that was not tracked before is where it is now.
      const t = (before & (1 << i)) === 0 ? 1 : part;
      const at = i * PART_STRIDE;
      let dot = 0;
      for (let k = 3; k < PART_STRIDE; k++) dot += (values[a + at + k] ?? 0) * (values[b + at + k] ?? 0);
      let square = 0;
      for (let k = 0; k < PART_STRIDE; k++) {
        const from = (k >= 3 && dot < 0 ? -1 : 1) * (values[a + at + k] ?? 0);
        const value = from + ((values[b + at + k] ?? 0) - from) * t;
        out.parts[at + k] = value;
        if (k >= 3) square += value * value;
      }
      const scale = square > 0 ? 1 / Math.sqrt(square) : 0;
      for (let k = 3; k < PART_STRIDE; k++) out.parts[at + k] = (out.parts[at + k] ?? 0) * scale;
    }
    for (let k = 0; k < 4; k++) out.grips[k] = values[b + VALUES + k] ?? 0;
  }

  /** `scratch` is the pose of `number` at `time`. */
  private add(number: number, time: number): void {
    const count = this.counts[number] ?? 0;
    const spacing = this.spacing[number] ?? 1;
    if (count > 0) {
      const last = this.time(number, this.newest[number] ?? 0);
      if (time <= last) return;
      if (time - last > SILENCE * spacing) this.hold(number, time - spacing);
    }
    const slot = this.next(number, time);
    const at = (number * SLOTS + slot) * STRIDE;
    this.values.set(this.scratch.parts, at);
    this.values.set(this.scratch.grips, at + VALUES);
    this.values[at + STRIDE - 1] = this.scratch.tracked;
  }

  /** What was newest is so still at `time`. */
  private hold(number: number, time: number): void {
    const from = (number * SLOTS + (this.newest[number] ?? 0)) * STRIDE;
    const slot = this.next(number, time);
    this.values.copyWithin((number * SLOTS + slot) * STRIDE, from, from + STRIDE);
  }

  private next(number: number, time: number): number {
    const slot = ((this.newest[number] ?? 0) + 1) % SLOTS;
    this.newest[number] = slot;
    this.counts[number] = Math.min(SLOTS, (this.counts[number] ?? 0) + 1);
    this.times[number * SLOTS + slot] = time;
    return slot;
  }

  private isNews(number: number, m: Poses, usual: number): boolean {
    const entered = this.entered[number] ?? -1;
    if (entered < 0 || serialDistance(m.sseq, entered) < 0 || (this.told[number] ?? 0) >= m.tick) return false;
    const passed = m.tick - (this.told[number] ?? 0);
    const known = this.spacing[number] ?? 0;
    // Silence is no rhythm: what rested is told at the usual pace again.
    if (known === 0 || passed > SPACING_MOST) this.spacing[number] = known === 0 ? usual : known;
    else this.spacing[number] = known + (passed - known) / 8;
    this.told[number] = m.tick;
    return true;
  }

  private forget(number: number): void {
    if (number >= NUMBERS_MAX) return;
    this.counts[number] = 0;
    this.entered[number] = -1;
    this.told[number] = -1;
    this.spacing[number] = 0;
  }
}
