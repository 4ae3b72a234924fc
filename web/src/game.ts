/**
 * The game: what the server's messages and the passing of time make of the world as this page knows it.
 *
 * Holds entities, people, the own body's prediction and the clock; told messages and times in milliseconds. Not responsible for:
 * connections (net/), drawing (render/), the page (ui/).
 */
import { ServerClock } from "./net/clock";
import { Predictor } from "./net/predict";
import type { Numbered } from "./net/session";
import type { Crowd } from "./protocol/crowds";
import type { Frame, Own, Values } from "./protocol/frames";
import { GRID_PER_M, OWN_MOVED, type Vec3 } from "./protocol/layouts";
import { toWire, type ServerMessage, type Welcome, type WireCommand } from "./protocol/messages";
import type { Ground } from "./walk";
import { FarCrowd } from "./world/crowd";
import { Entities } from "./world/entities";
import { People } from "./world/people";
import { PoseTracks } from "./world/poses";

/** Commands behind this are dropped: the page stood still (a hidden tab), and the server would not accept that time anyway. */
const LATE_MS_MAX = 250;

/** The ground, and whether it is whole around a point. */
export interface Terrain {
  readonly ground: Ground;
  covers(x: number, z: number): boolean;
}

export interface Wish {
  readonly moveX: number;
  readonly moveZ: number;
  readonly buttons: number;
  /** Where the body looks, radians; absent: where it walks. */
  readonly heading?: number;
}

export class Game {
  readonly entities = new Entities();
  readonly people = new People();
  readonly poses = new PoseTracks();
  readonly crowd = new FarCrowd();
  welcome: Welcome | null = null;
  clock: ServerClock | null = null;
  predictor: Predictor | null = null;
  private terrain: Terrain | null = null;
  private own: Own | null = null;
  private nextCommandMs = 0;
  private lastMs: number | null = null;
  private idleYaw = 0;
  private walkedM = 0;
  private speed = 0;
  private feet: Vec3 | null = null;
  heading = 0;
  /** The largest correction while nothing but commands moved the body. */
  ownCorrectionMaxM = 0;

  /** What walking stands on; until it is here the body is shown where the server says. */
  setTerrain(terrain: Terrain): void {
    this.terrain = terrain;
    this.predictor = null;
    this.startPredicting();
  }

  /** Throws ProtocolError if a message does not fit what came before. `overDatagrams`: how a welcomed stream comes. */
  apply(message: ServerMessage, nowMs: number, overDatagrams = false): void {
    this.take(message, nowMs, overDatagrams);
    this.entities.release();
  }

  private take(message: ServerMessage, nowMs: number, overDatagrams: boolean): void {
    switch (message.type) {
      case "welcome":
        this.begin(message, overDatagrams);
        break;
      case "structure":
        this.entities.structure(message);
        this.poses.structure(message);
        this.clock?.heard(message.tick, nowMs);
        break;
      case "frame":
        this.frame(message, nowMs);
        break;
      case "values":
        this.values(message, nowMs);
        break;
      case "schema":
        this.entities.records.countStructure(message.sseq);
        this.entities.reschema(message.schema);
        this.poses.begin();
        break;
      case "presence":
        this.entities.records.countStructure(message.sseq);
        this.people.apply(message);
        break;
      case "chat":
      case "notice":
      case "move":
      case "event":
      case "answer":
        this.entities.records.countStructure(message.sseq);
        break;
      case "poses":
        this.poses.tell(message, this.welcome?.rateHz ?? 1);
        break;
      case "crowd":
        this.count(message);
        break;
      case "close":
      case "token":
        break;
      case "channel":
      case "keyframe":
      case "camera":
        break; // a television's (tv/television.ts)
    }
  }

  /** The command for this moment and its number, if one is due: one for each client tick, none while nothing would change. */
  command(wish: Wish, nowMs: number): { readonly seq: number; readonly command: WireCommand } | null {
    const { welcome, predictor, terrain } = this;
    if (welcome === null || predictor?.now == null || terrain === null || nowMs < this.nextCommandMs) return null;
    if (!terrain.covers(predictor.now.x, predictor.now.z)) return null;
    const tickMs = 1000 / welcome.rateHz;
    this.nextCommandMs = nowMs - this.nextCommandMs > LATE_MS_MAX ? nowMs + tickMs : this.nextCommandMs + tickMs;
    const wishes = wish.moveX !== 0 || wish.moveZ !== 0;
    if (wish.heading !== undefined) this.heading = wish.heading;
    else if (wishes) this.heading = Math.atan2(-wish.moveX, -wish.moveZ);
    if (!wishes && wish.buttons === 0 && predictor.atRest && this.idleYaw === this.heading) return null;
    this.idleYaw = this.heading;
    const { moveX, moveZ, buttons } = wish;
    const command = toWire({ moveX, moveZ, buttons, yaw: this.heading, steps: welcome.stepsPerTick });
    const seq = predictor.command(command, nowMs);
    return seq === null ? null : { seq, command };
  }

  /** The tick that is shown, a real number. */
  tick = 0;

  /** Go on to `nowMs`. */
  advance(nowMs: number): void {
    const dtS = Math.min(0.5, this.lastMs === null ? 0 : (nowMs - this.lastMs) / 1000);
    this.lastMs = nowMs;
    if (this.clock !== null) {
      this.tick = this.clock.shownTick(nowMs);
      this.entities.advance(this.tick, dtS);
    }
    this.predictor?.fade(dtS);
    const before = this.feet;
    this.feet = this.predictor?.shown(nowMs) ?? (this.own === null ? null : metres(this.own.p));
    if (before === null || this.feet === null || dtS === 0) return;
    const moved = Math.hypot(this.feet[0] - before[0], this.feet[2] - before[2]);
    this.speed += (moved / dtS - this.speed) * Math.min(1, 8 * dtS);
    this.walkedM += moved;
  }

  /** The own body as shown; null until the server has said where it is. */
  get body(): { readonly feet: Vec3; readonly yaw: number; readonly speed: number; readonly walked: number } | null {
    const { feet, heading: yaw, speed, walkedM: walked } = this;
    return feet === null ? null : { feet, yaw, speed, walked };
  }

  /** A name tag's text; empty for those without a name. */
  nameOf(id: bigint, number: number): string {
    return this.entities.nameOf(number) || this.people.nameOf(id);
  }

  /** Commands that the server is not known to have applied, oldest first. */
  get pending(): readonly Numbered[] {
    return this.predictor?.pending ?? [];
  }

  private count(crowd: Crowd): void {
    const [x, , z] = this.feet ?? [0, 0, 0];
    this.crowd.tell(crowd, x, z, this.entities.farthestPersonM(x, z));
  }

  private begin(welcome: Welcome, overDatagrams: boolean): void {
    const before = this.welcome;
    const sameWorld = this.welcome?.world === welcome.world && this.welcome.rateHz === welcome.rateHz;
    this.welcome = welcome;
    this.entities.begin(welcome.schema, overDatagrams);
    this.people.begin();
    this.poses.begin();
    this.crowd.begin();
    if (!sameWorld || this.clock === null) this.clock = new ServerClock(welcome.rateHz);
    if (!sameWorld) this.predictor = null;
    // Over datagrams all that is not known to be applied is said again, so nothing of it is lost on the way there.
    const goesOn = overDatagrams && before?.session === welcome.session && before.body === welcome.body;
    if (!goesOn) this.predictor?.reconnected();
    this.own = null;
    this.startPredicting();
  }

  private startPredicting(): void {
    if (this.predictor !== null || this.terrain === null || this.welcome === null) return;
    this.predictor = new Predictor(this.terrain.ground, this.welcome.rateHz, this.welcome.stepsPerTick);
    if (this.own !== null) this.predictor.decided(this.own, this.lastMs ?? 0);
  }

  private frame(frame: Frame, nowMs: number): void {
    this.entities.frame(frame);
    this.clock?.heard(frame.tick, nowMs);
    if (frame.own !== null) this.decided(frame.own, nowMs);
  }

  private values(values: Values, nowMs: number): void {
    const newest = this.entities.isNewest(values.frame);
    this.clock?.heard(values.tick, nowMs);
    const came = this.entities.values(values);
    if (came && newest && values.own !== null) this.decided(values.own, nowMs);
  }

  private decided(own: Own, nowMs: number): void {
    this.own = own;
    if (own.stampMs !== 0) this.clock?.echoed(own.stampMs, own.holdMs, nowMs);
    const corrected = this.predictor?.decided(own, nowMs) ?? 0;
    if ((own.flags & OWN_MOVED) === 0) this.ownCorrectionMaxM = Math.max(this.ownCorrectionMaxM, corrected);
  }
}

function metres(p: Vec3): Vec3 {
  return [p[0] / GRID_PER_M, p[1] / GRID_PER_M, p[2] / GRID_PER_M];
}
