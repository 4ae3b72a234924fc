/** The third-person camera: behind and above the own body, never inside a building. Pure but for the camera it sets. */
import type { PerspectiveCamera } from "three";

import type { Vec3 } from "../protocol/layouts";
import { inside, nearest, type Ground } from "../walk";

const DISTANCE_M = 5.2;
const DISTANCE_MIN_M = 0.6;
const EYE_M = 1.65;
const STEP_M = 0.2;
const CLEARANCE_M = 0.3;
const FOLLOW_S = 0.12;

export class Follow {
  private distance = DISTANCE_M;

  /** `yaw`, `pitch` in radians, pitch positive looking down; `feet` in metres. */
  place(camera: PerspectiveCamera, ground: Ground | null, feet: Vec3, yaw: number, pitch: number, dtS: number): void {
    const [x, y, z] = feet;
    const back: Vec3 = [Math.sin(yaw) * Math.cos(pitch), Math.sin(pitch), Math.cos(yaw) * Math.cos(pitch)];
    const eye: Vec3 = [x, y + EYE_M, z];
    let free = DISTANCE_MIN_M;
    while (free < DISTANCE_M && isFree(ground, eye, back, free + STEP_M)) free += STEP_M;
    // In at once, so that no wall comes between; out gently.
    if (free < this.distance) this.distance = free;
    else this.distance += (free - this.distance) * (1 - Math.exp(-dtS / FOLLOW_S));
    const d = this.distance;
    camera.position.set(eye[0] + back[0] * d, Math.max(0.3, eye[1] + back[1] * d), eye[2] + back[2] * d);
    camera.rotation.set(-pitch, yaw, 0, "YXZ");
  }
}

function isFree(ground: Ground | null, eye: Vec3, back: Vec3, d: number): boolean {
  const [x, y, z] = [eye[0] + back[0] * d, eye[1] + back[1] * d, eye[2] + back[2] * d];
  if (y < CLEARANCE_M) return false;
  if (ground === null) return true;
  const cell = ground.cell(x, z);
  const beside = (edge: { bottom: number; top: number }) => edge.bottom < y + CLEARANCE_M && edge.top > y - CLEARANCE_M;
  if (cell.edges.some((edge) => beside(edge) && nearest(edge, x, z).d2 < CLEARANCE_M * CLEARANCE_M)) return false;
  return !cell.prisms.some((prism) => beside(prism) && inside(prism.edges, x, z));
}
