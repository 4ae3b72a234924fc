/**
 * What this page knows of the server's time: the round trip, and the tick whose news arrives now.
 *
 * Both take the sample with the least delay of the last 5 to 10 s (NTP's clock filter, RFC 5905 §10): queues only add delay.
 * Told all times in milliseconds of one clock; asks for none.
 */

const WINDOW_MS = 5000;
const SAMPLE_MAX_MS = 60_000;
/** The shown tick is pulled by at most this share of the time that passes: what is shown never jumps for a clock's sake. */
const SLEW = 0.1;
const JUMP_TICKS = 20;

class Least {
  private began = 0;
  private now: number | null = null;
  private previous: number | null = null;

  add(value: number, nowMs: number): void {
    if (this.now === null || nowMs - this.began >= WINDOW_MS) {
      [this.previous, this.now, this.began] = [this.now, value, nowMs];
    } else this.now = Math.min(this.now, value);
  }

  get value(): number | null {
    if (this.now === null || this.previous === null) return this.now;
    return Math.min(this.now, this.previous);
  }
}

export class ServerClock {
  private readonly tickMs: number;
  private readonly behind = new Least();
  private shown: { readonly tick: number; readonly atMs: number } | null = null;
  rttMs: number | null = null;

  constructor(rateHz: number) {
    this.tickMs = 1000 / rateHz;
  }

  /** News of `tick` arrived. */
  heard(tick: number, nowMs: number): void {
    this.behind.add(nowMs - tick * this.tickMs, nowMs);
  }

  /** The server echoed our stamp (u32 milliseconds) after keeping it for `holdMs`. Nonsense is ignored. */
  echoed(stampMs: number, holdMs: number, nowMs: number): void {
    const sample = (Math.floor(nowMs) - stampMs - holdMs) >>> 0;
    if (sample < SAMPLE_MAX_MS) this.rttMs = sample;
  }

  /** The tick to show now: follows the arrivals smoothly, runs on between them, and never runs backwards. */
  shownTick(nowMs: number): number {
    const { value } = this.behind;
    if (value === null) return 0;
    const target = (nowMs - value) / this.tickMs;
    const last = this.shown;
    let tick = target;
    if (last !== null && Math.abs(target - last.tick) < JUMP_TICKS) {
      const passed = Math.max(0, nowMs - last.atMs) / this.tickMs;
      const error = target - (last.tick + passed);
      tick = last.tick + passed + Math.max(-SLEW * passed, Math.min(SLEW * passed, error));
    }
    this.shown = { tick, atMs: nowMs };
    return tick;
  }
}
