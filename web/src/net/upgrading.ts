/**
 * When a page asks for datagrams: at once on a new gateway, and ever more rarely where they do not work.
 *
 * A network that drops UDP does so for everybody behind it and for long: asking costs the session a change of its connection and back
 * each time, so the pause doubles. Not responsible for: asking, and going back (session.ts).
 */
const FIRST_MS = 10_000;
const MOST_MS = 300_000;
/** Datagrams that worked for so long are tried as if they had never failed. */
const STEADY_MS = 60_000;

export class Upgrading {
  /** Since they last worked for long, or on this gateway. */
  private tries = 0;
  private waits = false;
  /** When this page went on over datagrams; null while it is not. */
  private beganMs: number | null = null;
  /** When to ask, on WebSocket. */
  atMs = Infinity;
  /** Why it is not on datagrams, as far as known. */
  problem: string | null = null;

  /** `wanted`: whether this browser can. `jitter` returns numbers in [0, 1). */
  constructor(
    private readonly wanted: boolean,
    private readonly jitter: () => number,
  ) {}

  /** Welcomed over WebSocket. A gateway that was not asked yet is asked at once. */
  onWebSocket(nowMs: number, newGateway: boolean): void {
    if (this.wanted && (newGateway || this.beganMs !== null)) {
      this.tries = 0;
      this.atMs = nowMs;
    }
    this.beganMs = null;
    this.waits = false;
  }

  /** DATAGRAMS was said. Without anything that comes of it, it is said again later. */
  asked(nowMs: number): void {
    this.waits = true;
    this.tries++;
    this.later(nowMs);
  }

  /** A TOKEN came; returns whether it was asked for, which each is once. */
  answered(): boolean {
    const asked = this.waits;
    this.waits = false;
    return asked;
  }

  /** Welcomed over datagrams. */
  onDatagrams(nowMs: number): void {
    this.beganMs = nowMs;
    this.atMs = Infinity;
    this.problem = null;
  }

  /** They did not work, or work no longer. */
  failed(why: string, nowMs: number): void {
    this.problem = why;
    if (this.beganMs === null) return;
    if (nowMs - this.beganMs >= STEADY_MS) this.tries = 1;
    this.beganMs = null;
    this.later(nowMs);
  }

  private later(nowMs: number): void {
    const bound = Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(this.tries - 1, 16));
    this.atMs = nowMs + bound * (0.5 + 0.5 * this.jitter());
  }
}
