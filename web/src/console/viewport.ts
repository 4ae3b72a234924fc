/** Which part of the ground is on the canvas: a square window of the world, in metres. +X right, +Z down (the map of a walker). */
import type { Square } from "./quadtree";

const LEAST_SIDE_M = 16;

export class Viewport {
  x = 0;
  z = 0;
  side = 1;

  constructor(private worldM: number) {
    this.whole();
  }

  /** The world's square may not be known from the beginning. */
  setWorld(worldM: number): void {
    if (worldM === this.worldM) return;
    this.worldM = worldM;
    this.whole();
  }

  get isWhole(): boolean {
    return this.side >= this.worldM;
  }

  whole(): void {
    this.side = this.worldM;
    this.x = this.z = -this.worldM / 2;
  }

  /** `factor` below 1 goes nearer; the point (parts of the window, 0 to 1) stays where it is. */
  zoom(factor: number, px: number, pz: number): void {
    const side = Math.min(this.worldM, Math.max(LEAST_SIDE_M, this.side * factor));
    this.x += (this.side - side) * px;
    this.z += (this.side - side) * pz;
    this.side = side;
    this.clamp();
  }

  /** By parts of the window. */
  pan(dx: number, dz: number): void {
    this.x -= dx * this.side;
    this.z -= dz * this.side;
    this.clamp();
  }

  /** Bring a square into sight. */
  show(s: Square): void {
    if (s.x < this.x || s.z < this.z || s.x + s.side > this.x + this.side || s.z + s.side > this.z + this.side) {
      this.side = Math.max(this.side, s.side);
      this.x = s.x + s.side / 2 - this.side / 2;
      this.z = s.z + s.side / 2 - this.side / 2;
      this.clamp();
    }
  }

  /** A world place as parts of the window. */
  at(x: number, z: number): readonly [number, number] {
    return [(x - this.x) / this.side, (z - this.z) / this.side];
  }

  private clamp(): void {
    const low = -this.worldM / 2;
    this.x = Math.min(Math.max(this.x, low), low + this.worldM - this.side);
    this.z = Math.min(Math.max(this.z, low), low + this.worldM - this.side);
  }
}
