/**
 * The own body: predicted by the walking rule, put right by what the server decided (protocol/WALKING.md §7).
 *
 * Each command is walked at once and kept with the state after each of its steps until `own` says that it was applied. `own`
 * names a point of this history: `seq` whole commands, and `steps` of the next. If the state kept for that point agrees with
 * the server's, which is rounded to the grid, the prediction goes on unrounded; else the server's state replaces it and the rest
 * is walked again. What a correction moves is then shown as an offset that fades, so nobody sees a jump.
 * Invariant: at most HISTORY_MAX commands are kept. Not responsible for: when commands are made, sending them.
 */
import type { Own } from "../protocol/frames";
import { GRID_PER_M, OWN_ON_GROUND, SHOWN_PER_M, serialDistance, type Vec3 } from "../protocol/layouts";
import type { WireCommand } from "../protocol/messages";
import { walkStep, type Ground, type Walker } from "../walk";

/** Rounding to the grid moves a position by at most 6.8 mm; this is more than twice that. */
const AGREE_M = 0.015;
/** Rounding moves a velocity by at most 0.025 m/s at 60 Hz. */
const AGREE_M_PER_S = 0.05;
const HISTORY_MAX = 256;
/** A correction fades by a factor e in this time; one beyond SNAP_M is a teleport and is shown at once. */
const FADE_S = 0.1;
const SNAP_M = 4;

interface Sent {
  readonly seq: number;
  readonly command: WireCommand;
  /** The state after each step. */
  after: Walker[];
}

export class Predictor {
  private readonly stepS: number;
  private readonly mps: number;
  private sent: Sent[] = [];
  /** The state after command `seq` was applied, if it is known. */
  private base: { readonly seq: number; readonly state: Walker } | null = null;
  private seq = 0;
  private offset: Vec3 = [0, 0, 0];
  /** The walked path of the last command and when it began: what is shown moves along it. */
  private path: readonly Walker[] = [];
  private pathBeganMs = 0;

  /** Null until the server has said where the body is. */
  now: Walker | null = null;
  /** The largest correction so far, in metres; placing the body at the start is none. */
  correctionMaxM = 0;
  corrections = 0;

  constructor(
    private readonly ground: Ground,
    rateHz: number,
    stepsPerTick: number,
  ) {
    this.stepS = 1 / (rateHz * stepsPerTick);
    this.mps = rateHz / SHOWN_PER_M;
  }

  /** Nothing would change without a command. */
  get atRest(): boolean {
    return this.now !== null && this.now.onGround && this.now.vx === 0 && this.now.vy === 0 && this.now.vz === 0;
  }

  get unacknowledged(): number {
    return this.sent.length;
  }

  /** Commands that are not known to be applied, oldest first. */
  get pending(): readonly { readonly seq: number; readonly command: WireCommand }[] {
    return this.sent;
  }

  /** A new connection: commands under way may be lost; the server's next word is taken as it is. The numbers go on. */
  reconnected(): void {
    this.sent = [];
    this.base = null;
  }

  /** Walk a command. Returns its sequence number; null while the body has no place yet. */
  command(command: WireCommand, nowMs: number): number | null {
    if (this.now === null) return null;
    this.seq = (this.seq + 1) >>> 0;
    const sent: Sent = { seq: this.seq, command, after: [] };
    this.path = [this.now, ...this.walk(sent, this.now, 0)];
    this.pathBeganMs = nowMs;
    this.sent.push(sent);
    if (this.sent.length > HISTORY_MAX) this.sent.shift();
    return this.seq;
  }

  /** The server's state arrived. Returns how far the present state was corrected, in metres (0: it agreed). */
  decided(own: Own, nowMs: number): number {
    const [x, y, z] = [own.p[0] / GRID_PER_M, own.p[1] / GRID_PER_M, own.p[2] / GRID_PER_M];
    const [vx, vy, vz] = [own.v[0] * this.mps, own.v[1] * this.mps, own.v[2] * this.mps];
    const told: Walker = { x, y, z, vx, vy, vz, onGround: (own.flags & OWN_ON_GROUND) !== 0 };
    const known = this.advance(own.seq, own.steps);
    if (this.now !== null && known !== null && agree(known, told)) return 0;

    const shownBefore = this.shown(nowMs);
    const before = this.now;
    this.now = told;
    if (own.steps === 0) this.base = { seq: own.seq, state: told };
    this.sent.forEach((sent, i) => {
      const skip = i === 0 ? Math.min(own.steps, sent.command.steps) : 0;
      const from = this.now ?? told;
      if (skip > 0) sent.after.splice(0, skip, ...Array<Walker>(skip).fill(told));
      const walked = this.walk(sent, from, skip);
      if (i === this.sent.length - 1) this.path = [from, ...sent.after.slice(0, skip), ...walked];
    });
    if (this.sent.length === 0) this.path = [told];
    if (before === null || shownBefore === null) return 0;
    const shownAfter = this.shown(nowMs) ?? shownBefore;
    const moved: Vec3 = [
      shownBefore[0] - shownAfter[0],
      shownBefore[1] - shownAfter[1],
      shownBefore[2] - shownAfter[2],
    ];
    const seen = this.offset;
    this.offset = length(moved) > SNAP_M ? [0, 0, 0] : [seen[0] + moved[0], seen[1] + moved[1], seen[2] + moved[2]];
    const corrected = distance(before, this.now);
    this.corrections++;
    this.correctionMaxM = Math.max(this.correctionMaxM, corrected);
    return corrected;
  }

  /** Let what is left of corrections fade for `dtS` seconds. */
  fade(dtS: number): void {
    const keep = Math.exp(-dtS / FADE_S);
    this.offset = [this.offset[0] * keep, this.offset[1] * keep, this.offset[2] * keep];
  }

  /** Where to show the own feet: along the steps of the last command as its time passes, plus what is left of corrections. */
  shown(nowMs: number): Vec3 | null {
    if (this.now === null) return null;
    const steps = this.path.length - 1;
    const along = Math.min(steps, Math.max(0, (nowMs - this.pathBeganMs) / 1000 / this.stepS));
    const i = Math.min(Math.max(steps - 1, 0), Math.floor(along));
    const a = this.path[i] ?? this.now;
    const b = this.path[i + 1] ?? a;
    const t = along - i;
    const [ox, oy, oz] = this.offset;
    return [a.x + (b.x - a.x) * t + ox, a.y + (b.y - a.y) * t + oy, a.z + (b.z - a.z) * t + oz];
  }

  private walk(sent: Sent, from: Walker, first: number): Walker[] {
    const walked: Walker[] = [];
    let state = from;
    for (let step = first; step < sent.command.steps; step++) {
      state = walkStep(this.ground, state, sent.command, this.stepS);
      walked.push(state);
    }
    sent.after = [...sent.after.slice(0, first), ...walked];
    this.now = state;
    return walked;
  }

  /** Drop what is applied; the state predicted for the point that the server names, or null if it is not known. */
  private advance(seq: number, steps: number): Walker | null {
    for (let first = this.sent[0]; first !== undefined && serialDistance(seq, first.seq) >= 0; first = this.sent[0]) {
      const state = first.after.at(-1);
      if (state !== undefined) this.base = { seq: first.seq, state };
      this.sent.shift();
    }
    // A body that has had more commands than this page knows of: resumed after the page was loaded anew.
    if (serialDistance(seq, this.seq) > 0) this.seq = seq;
    if (this.base?.seq !== seq) this.base = null;
    if (steps === 0) return this.base?.state ?? null;
    const next = this.sent[0];
    return next?.seq === (seq + 1) >>> 0 ? (next.after[steps - 1] ?? null) : null;
  }
}

function length([x, y, z]: Vec3): number {
  return Math.hypot(x, y, z);
}

function distance(a: Walker, b: Walker): number {
  return Math.hypot(a.x - b.x, a.y - b.y, a.z - b.z);
}

function agree(a: Walker, b: Walker): boolean {
  const speed = Math.hypot(a.vx - b.vx, a.vy - b.vy, a.vz - b.vz);
  return a.onGround === b.onGround && distance(a, b) <= AGREE_M && speed <= AGREE_M_PER_S;
}
