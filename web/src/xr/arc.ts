/**
 * The arc by which a hand points at a place to go: the path of a thrown thing, until it meets the ground or a wall.
 *
 * Invariants: `points` holds `count` points, first the hand; `isOpen` only where a person can stand as far as this page knows. Nothing
 * allocates but in the ground's own look-ups. Not responsible for: how far the world lets people go (it answers), drawing.
 */
import { HEIGHT, inside, nearest, RADIUS, STEP, type Ground } from "../walk";

const SPEED_M_PER_S = 6.5;
const GRAVITY = 9.81;
const STEP_S = 0.04;
export const ARC_POINTS_MAX = 48;

export class Arc {
  readonly points = new Float32Array(3 * ARC_POINTS_MAX);
  count = 0;
  /** Where it ends is a place to stand. */
  isOpen = false;
  x = 0;
  z = 0;

  /** From (x, y, z) along the unit vector (dx, dy, dz). */
  cast(ground: Ground, x: number, y: number, z: number, dx: number, dy: number, dz: number): void {
    this.count = 0;
    this.isOpen = false;
    for (let i = 0; i < ARC_POINTS_MAX; i++) {
      const t = i * STEP_S;
      const px = x + SPEED_M_PER_S * dx * t;
      const py = y + SPEED_M_PER_S * dy * t - (GRAVITY / 2) * t * t;
      const pz = z + SPEED_M_PER_S * dz * t;
      this.points[3 * i] = px;
      this.points[3 * i + 1] = Math.max(0.02, py);
      this.points[3 * i + 2] = pz;
      this.count = i + 1;
      this.x = px;
      this.z = pz;
      if (py <= 0) {
        this.isOpen = canStand(ground, px, pz);
        return;
      }
      if (isWithin(ground, px, py, pz)) return;
    }
  }
}

function isWithin(ground: Ground, x: number, y: number, z: number): boolean {
  for (const prism of ground.cell(x, z).prisms) {
    if (prism.bottom < y && prism.top > y && inside(prism.edges, x, z)) return true;
  }
  return false;
}

/** Whether a person fits on the ground at (x, z). */
export function canStand(ground: Ground, x: number, z: number): boolean {
  if (x < ground.minX || x > ground.maxX || z < ground.minZ || z > ground.maxZ) return false;
  const cell = ground.cell(x, z);
  for (const edge of cell.edges) {
    if (edge.top > STEP && edge.bottom < HEIGHT && nearest(edge, x, z).d2 < RADIUS * RADIUS) return false;
  }
  for (const prism of cell.prisms) {
    if (prism.top > STEP && prism.bottom < HEIGHT && inside(prism.edges, x, z)) return false;
  }
  return true;
}
