/**
 * Where the room of somebody with a headset is in the world: an origin and a turn. The one rule of comfort lives here.
 *
 * The rule: the view moves by what the person does with the head, and otherwise only (1) with the body while the person steers it or
 * rides, (2) by a snap turn, (3) to the body in the dark, behind a fade: after a teleport, or when body and head are too far apart, because
 * somebody was pushed, put elsewhere, or went through a wall with the real feet. Invariants: a turn keeps the head where it is; while
 * `fade` is below 1 the origin makes no jump. Told times; asks for none. Not responsible for: walking (walk.ts), what the server lets
 * pass.
 */
import { PART_STRIDE, PARTS, type Pose } from "../protocol/poses";

const FADE_S = 0.15;
/** A server brings a head that is farther beside its body to a metre. */
const APART_MAX_M = 0.9;
const STEP_MAX_M = 0.45;
/** The body goes after a head that is farther than this beside it, until it is nearer than CLOSE_M. */
const AFTER_M = 0.35;
const CLOSE_M = 0.08;
/** The body of somebody who steered still slides for a moment. */
const STILL_M_PER_S = 0.02;
/** So long a teleport that was granted may take until the body is there. */
const ARRIVAL_S = 0.6;
const ARRIVED_M = 0.03;

export class Rig {
  x = 0;
  y = 0;
  z = 0;
  /** Radians, counter-clockwise seen from above. */
  yaw = 0;
  /** 0: one sees; 1: dark. */
  fade = 0;
  /** The body is on something that moves, as the person asked. */
  isRiding = false;
  /** How far the head is beside the body, metres. */
  apartM = 0;
  private isPlaced = false;
  private isSteered = false;
  private isAfter = false;
  private isAstray = false;
  private teleport: "none" | "asked" | "granted" = "none";
  private targetX = 0;
  private targetZ = 0;
  private waitedS = 0;
  private bodyX = 0;
  private bodyY = 0;
  private bodyZ = 0;
  private wishX = 0;
  private wishZ = 0;

  /** Once in each frame: the body's feet in the world, the head in the room (metres), whether the person steers. */
  update(
    dtS: number,
    feetX: number,
    feetY: number,
    feetZ: number,
    headX: number,
    headZ: number,
    steers: boolean,
  ): void {
    if (!this.isPlaced) {
      this.isPlaced = true;
      this.settle(feetX, feetY, feetZ, headX, headZ);
    }
    const dx = feetX - this.bodyX;
    const dy = feetY - this.bodyY;
    const dz = feetZ - this.bodyZ;
    this.bodyX = feetX;
    this.bodyY = feetY;
    this.bodyZ = feetZ;
    const moved = Math.hypot(dx, dz);
    if (steers) this.isSteered = true;
    else if (moved <= STILL_M_PER_S * dtS) this.isSteered = false;
    if ((this.isSteered || this.isRiding) && moved < APART_MAX_M && this.teleport === "none") {
      this.x += dx;
      this.y += dy;
      this.z += dz;
    }
    this.measure(feetX, feetZ, headX, headZ);
    this.isAstray ||= this.apartM > APART_MAX_M || Math.abs(feetY - this.y) > STEP_MAX_M;
    this.awaitArrival(dtS, feetX, feetZ);
    const isDark = this.teleport !== "none" || this.isAstray;
    this.fade = Math.min(1, Math.max(0, this.fade + ((isDark ? 1 : -1) * dtS) / FADE_S));
    if (this.fade === 1 && this.isAstray && this.teleport === "none") this.settle(feetX, feetY, feetZ, headX, headZ);
  }

  /** Turn about the head by `radians`. */
  turn(radians: number, headX: number, headZ: number): void {
    const [x, z] = [this.worldX(headX, headZ), this.worldZ(headX, headZ)];
    this.yaw += radians;
    this.x += x - this.worldX(headX, headZ);
    this.z += z - this.worldZ(headX, headZ);
  }

  /** A teleport was asked for: it gets dark. */
  asked(): void {
    this.teleport = "asked";
  }

  /** The server's answer: where the body will be, or null, if it was refused. */
  answered(x: number | null, z: number | null): void {
    if (x === null || z === null) {
      this.teleport = "none";
      return;
    }
    this.teleport = "granted";
    this.waitedS = 0;
    this.targetX = x;
    this.targetZ = z;
  }

  /** Somebody else's body, or another session: begin anew at the body. */
  reset(): void {
    this.isPlaced = this.isSteered = this.isAfter = this.isAstray = this.isRiding = false;
    this.teleport = "none";
    this.yaw = this.fade = 0;
  }

  /** The wish with which the body goes after the head, world axes, length ≤ 1: 0 while it is near enough. */
  get afterX(): number {
    return this.isAfter ? this.wishX : 0;
  }

  get afterZ(): number {
    return this.isAfter ? this.wishZ : 0;
  }

  /** From the room to the world. */
  carry(room: Pose, out: Pose): void {
    const sin = Math.sin(this.yaw / 2);
    const cos = Math.cos(this.yaw / 2);
    out.tracked = room.tracked;
    for (let part = 0; part < PARTS; part++) {
      const at = part * PART_STRIDE;
      const px = room.parts[at] ?? 0;
      const py = room.parts[at + 1] ?? 0;
      const pz = room.parts[at + 2] ?? 0;
      out.parts[at] = this.worldX(px, pz);
      out.parts[at + 1] = py + this.y;
      out.parts[at + 2] = this.worldZ(px, pz);
      const qx = room.parts[at + 3] ?? 0;
      const qy = room.parts[at + 4] ?? 0;
      const qz = room.parts[at + 5] ?? 0;
      const qw = room.parts[at + 6] ?? 1;
      out.parts[at + 3] = cos * qx + sin * qz;
      out.parts[at + 4] = cos * qy + sin * qw;
      out.parts[at + 5] = cos * qz - sin * qx;
      out.parts[at + 6] = cos * qw - sin * qy;
    }
    out.grips.set(room.grips);
  }

  private worldX(x: number, z: number): number {
    return this.x + Math.cos(this.yaw) * x + Math.sin(this.yaw) * z;
  }

  private worldZ(x: number, z: number): number {
    return this.z - Math.sin(this.yaw) * x + Math.cos(this.yaw) * z;
  }

  /** The head above the body. */
  private settle(feetX: number, feetY: number, feetZ: number, headX: number, headZ: number): void {
    this.x += feetX - this.worldX(headX, headZ);
    this.z += feetZ - this.worldZ(headX, headZ);
    this.y = feetY;
    this.bodyX = feetX;
    this.bodyY = feetY;
    this.bodyZ = feetZ;
    this.isAstray = this.isAfter = false;
    this.apartM = 0;
  }

  private measure(feetX: number, feetZ: number, headX: number, headZ: number): void {
    const ax = this.worldX(headX, headZ) - feetX;
    const az = this.worldZ(headX, headZ) - feetZ;
    this.apartM = Math.hypot(ax, az);
    const isElsewhere = this.isRiding || this.isAstray || this.teleport !== "none"; // then the view goes to the body
    this.isAfter = !isElsewhere && this.apartM > (this.isAfter ? CLOSE_M : AFTER_M);
    const speed = Math.min(1, 2 * this.apartM) / Math.max(this.apartM, 1e-6);
    this.wishX = ax * speed;
    this.wishZ = az * speed;
  }

  private awaitArrival(dtS: number, feetX: number, feetZ: number): void {
    if (this.teleport !== "granted") return;
    this.waitedS += dtS;
    const isThere = Math.hypot(feetX - this.targetX, feetZ - this.targetZ) < ARRIVED_M;
    if (!isThere && this.waitedS < ARRIVAL_S) return;
    this.teleport = "none";
    this.isAstray = true;
  }
}
