/**
 * What a television holds of its channel: entities, camera, and how far it is (STANDARD.md §10).
 *
 * Invariants: entities and camera are those of the newest keyframe and all that followed it without a gap; a frame counts as applied only
 * when the keyframe before it is whole. Throws ProtocolError where a server breaks the standard. Told all times; asks for none.
 * Not responsible for: which channel is wanted (remote.ts), drawing.
 */
import { ServerClock } from "../net/clock";
import { OFF, WATCHING, type Camera, type Channel, type Keyframe } from "../protocol/channels";
import { ProtocolError } from "../protocol/codes";
import type { Crowd } from "../protocol/crowds";
import { GRID_PER_M, type Vec3 } from "../protocol/layouts";
import type { ServerMessage, Welcome } from "../protocol/messages";
import { FarCrowd } from "../world/crowd";
import { Entities } from "../world/entities";
import { PoseTracks } from "../world/poses";

/** The picture follows the directed camera with this lag, so that it starts and stops as if somebody carried it. */
const EASE_S = 0.2;

type Six = [number, number, number, number, number, number];

export class Television {
  readonly entities = new Entities();
  /** Nobody's: a channel carries no heads and hands. */
  readonly poses = new PoseTracks();
  readonly crowd = new FarCrowd();
  /** What it was told that it watches. */
  channel: Channel | null = null;
  camera: Camera | null = null;
  /** The newest frame applied, to be acknowledged. */
  applied = 0;
  /** The tick that is shown, a real number. */
  tick = 0;
  private rateHz = 20;
  private clock: ServerClock | null = null;
  private parts = 0;
  private hasBegun = false;
  private sseq = 0;
  private before: Six | null = null;
  private lastMs: number | null = null;
  /** Eye and look as shown; null: the next pose is taken as it is. */
  private shown: Six | null = null;
  private readonly target: Six = [0, 0, 0, 0, 0, 0];

  /** A message of the server. */
  apply(message: ServerMessage, nowMs: number): void {
    switch (message.type) {
      case "welcome":
        this.welcomed(message);
        break;
      case "channel":
        this.answered(message);
        break;
      case "keyframe":
        if (this.channel !== null) this.begin(message, nowMs);
        break;
      case "structure":
        if (this.channel === null) break;
        this.require();
        this.entities.structure(message);
        this.count();
        break;
      case "frame":
        if (this.channel === null) break;
        this.require();
        if (this.parts > 0 || message.frame !== (this.entities.records.frame + 1) >>> 0) {
          throw new ProtocolError(`frame ${message.frame} of a channel follows ${this.entities.records.frame}`);
        }
        this.entities.frame(message);
        this.applied = message.frame;
        this.clock?.heard(message.tick, nowMs);
        break;
      case "camera":
        if (this.channel !== null) this.turn(message);
        break;
      case "crowd":
        if (this.channel?.stream === message.stream) this.see(message);
        break;
      case "poses":
      case "close":
      case "token":
      case "values":
        break;
      default:
        // All others are of the session's own stream, which counts by itself.
        if (message.sseq !== (this.sseq + 1) >>> 0) {
          throw new ProtocolError(`structure message ${message.sseq} follows ${this.sseq}`);
        }
        this.sseq = message.sseq;
        if (message.type === "schema") this.entities.describe(message.schema);
    }
  }

  /** Go on to `nowMs`. */
  advance(nowMs: number): void {
    const dtS = this.lastMs === null ? 0 : Math.min(0.5, (nowMs - this.lastMs) / 1000);
    this.lastMs = nowMs;
    if (this.clock === null) return;
    this.tick = this.clock.shownTick(nowMs);
    this.entities.advance(this.tick, dtS);
    const { target } = this;
    if (!this.pose(this.tick, target)) return;
    if (this.shown === null) this.shown = [...target];
    const keep = Math.exp(-dtS / EASE_S);
    for (let i = 0; i < 6; i++) this.shown[i] = (target[i] ?? 0) + ((this.shown[i] ?? 0) - (target[i] ?? 0)) * keep;
  }

  /** Parts of a keyframe are still to come: what is here is half a picture. */
  get isHalf(): boolean {
    return this.parts > 0;
  }

  /** Eye (three numbers) and look (three more) in metres, as shown; null before the first camera. */
  get view(): Readonly<Six> | null {
    return this.shown;
  }

  /** Writes eye and look as the standard has them at a tick; false: nothing is known. */
  pose(tick: number, out: Six): boolean {
    const { camera, before } = this;
    if (camera === null) return false;
    const tied = camera.entity === null ? null : this.entities.find(camera.entity);
    if (camera.entity !== null && tied === null) {
      if (before === null) return false;
      for (let i = 0; i < 6; i++) out[i] = before[i] ?? 0;
      return true;
    }
    const part = before === null ? 1 : (((tick - camera.tick) / this.rateHz) * 1000) / camera.moveMs;
    const along = Math.min(1, Math.max(0, part));
    for (let i = 0; i < 6; i++) {
      const axis = i % 3;
      const base = tied === null ? 0 : axis === 0 ? tied.x : axis === 1 ? tied.y : tied.z;
      const to = base + ((i < 3 ? camera.eye : camera.look)[axis] ?? 0) / GRID_PER_M;
      const from = before?.[i] ?? to;
      out[i] = from + (to - from) * along;
    }
    return true;
  }

  /** What is looked at on the ground, for the map around it. */
  get look(): Vec3 | null {
    return this.shown === null ? null : [this.shown[3], this.shown[4], this.shown[5]];
  }

  private welcomed(welcome: Welcome): void {
    this.rateHz = welcome.rateHz;
    this.sseq = 0;
    if (welcome.schema !== null) this.entities.describe(welcome.schema);
    this.forget();
  }

  private answered(channel: Channel): void {
    if (channel.code !== WATCHING && channel.code !== OFF) return; // what was watched goes on
    this.forget();
    this.channel = channel.code === WATCHING ? channel : null;
  }

  private forget(): void {
    this.channel = null;
    this.hasBegun = false;
    this.applied = 0;
  }

  private begin(keyframe: Keyframe, nowMs: number): void {
    if (keyframe.stream !== this.channel?.stream) {
      throw new ProtocolError(`a keyframe of stream ${keyframe.stream}, which is not watched`);
    }
    this.entities.rebegin(keyframe.sseq, keyframe.frame);
    this.crowd.begin();
    this.camera = this.before = this.shown = null;
    this.parts = keyframe.parts;
    this.hasBegun = true;
    if (keyframe.parts === 0) this.applied = keyframe.frame;
    this.clock = new ServerClock(this.rateHz); // its ticks may lie in the past
    this.clock.heard(keyframe.tick, nowMs);
  }

  private turn(camera: Camera): void {
    this.require();
    const before: Six = [0, 0, 0, 0, 0, 0];
    this.before = camera.moveMs > 0 && this.pose(camera.tick, before) ? before : null;
    if (camera.moveMs === 0) this.shown = null;
    this.entities.records.countStructure(camera.sseq);
    this.camera = camera;
    this.count();
  }

  /** A channel's view is around what its camera looks at. */
  private see(crowd: Crowd): void {
    const [x, , z] = this.look ?? [0, 0, 0];
    this.crowd.tell(crowd, x, z, this.entities.farthestPersonM(x, z));
  }

  private require(): void {
    if (!this.hasBegun) throw new ProtocolError("a channel's stream begins with a keyframe");
  }

  /** One of the keyframe's parts has come. */
  private count(): void {
    if (this.parts === 0) return;
    this.parts--;
    if (this.parts === 0) this.applied = this.entities.records.frame;
  }
}
