/** Collects triangles with normals, colours and texture coordinates into one BufferGeometry: one draw call for many shapes. */
import { BufferAttribute, BufferGeometry, Color, ShapeUtils, Vector2 } from "three";

import type { Ring } from "../walk";

export class Mesher {
  private readonly position: number[] = [];
  private readonly normal: number[] = [];
  private readonly color: number[] = [];
  private readonly uv: number[] = [];
  private readonly index: number[] = [];

  get empty(): boolean {
    return this.index.length === 0;
  }

  vertex(x: number, y: number, z: number, nx: number, ny: number, nz: number, color: Color, u = 0, v = 0): number {
    this.position.push(x, y, z);
    this.normal.push(nx, ny, nz);
    this.color.push(color.r, color.g, color.b);
    this.uv.push(u, v);
    return this.position.length / 3 - 1;
  }

  triangle(a: number, b: number, c: number): void {
    this.index.push(a, b, c);
  }

  /** A flat polygon with holes at height `y`, facing up. */
  polygon(rings: readonly Ring[], y: number, color: Color): void {
    const [outer, ...holes] = rings.map((ring) => ring.map(([x, z]) => new Vector2(x, z)));
    if (outer === undefined || outer.length < 3) return;
    const faces = ShapeUtils.triangulateShape(outer, holes);
    const points = [...outer, ...holes.flat()];
    const first = points.map((p) => this.vertex(p.x, y, p.y, 0, 1, 0, color))[0] ?? 0;
    for (const [a = 0, b = 0, c = 0] of faces) {
      const [p, q, r] = [points[a], points[b], points[c]];
      if (p === undefined || q === undefined || r === undefined) continue;
      // Facing up in a right-handed world: clockwise in (x, z).
      const clockwise = (q.x - p.x) * (r.y - p.y) - (q.y - p.y) * (r.x - p.x) < 0;
      if (clockwise) this.triangle(first + a, first + b, first + c);
      else this.triangle(first + a, first + c, first + b);
    }
  }

  /** A band of `width` along a line at height 0, with rounded joints. `shift` moves it to the side. */
  ribbon(points: Ring, width: number, color: Color, shift = 0): void {
    const half = width / 2;
    points.forEach(([bx, bz], i) => {
      const [ax, az] = points[i - 1] ?? [bx, bz];
      const length = Math.hypot(bx - ax, bz - az);
      if (length === 0) return;
      const [nx, nz] = [(bz - az) / length, -(bx - ax) / length];
      const at = (x: number, z: number, side: number) =>
        this.vertex(x + nx * (shift + side * half), 0, z + nz * (shift + side * half), 0, 1, 0, color);
      const [a0, a1, b0, b1] = [at(ax, az, -1), at(ax, az, 1), at(bx, bz, -1), at(bx, bz, 1)];
      this.triangle(a0, b0, a1);
      this.triangle(a1, b0, b1);
      if (i < points.length - 1 && width > 1) this.disc(bx, bz, half, color);
    });
  }

  private disc(x: number, z: number, radius: number, color: Color): void {
    const sides = 8;
    const centre = this.vertex(x, 0, z, 0, 1, 0, color);
    const rim = Array.from({ length: sides }, (_, i) => {
      const angle = (i / sides) * 2 * Math.PI;
      return this.vertex(x + Math.cos(angle) * radius, 0, z + Math.sin(angle) * radius, 0, 1, 0, color);
    });
    rim.forEach((vertex, i) => {
      this.triangle(centre, rim[(i + 1) % sides] ?? vertex, vertex);
    });
  }

  build(): BufferGeometry {
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new BufferAttribute(new Float32Array(this.position), 3));
    geometry.setAttribute("normal", new BufferAttribute(new Float32Array(this.normal), 3));
    geometry.setAttribute("color", new BufferAttribute(new Float32Array(this.color), 3));
    geometry.setAttribute("uv", new BufferAttribute(new Float32Array(this.uv), 2));
    geometry.setIndex(this.index);
    geometry.computeBoundingSphere();
    return geometry;
  }
}
