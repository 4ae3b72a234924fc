/**
 * Figures for those who are only counted: plain grey ones, without faces, in one draw call, so that nobody takes them for certain people.
 * Nothing here makes objects in the steady state. Not responsible for: where they are (world/crowd.ts).
 */
import { CapsuleGeometry, InstancedMesh, Matrix4, MeshLambertMaterial, SphereGeometry } from "three";
import { mergeGeometries } from "three/addons/utils/BufferGeometryUtils.js";

import { FIGURES_MAX, type FarCrowd } from "../world/crowd";
import { coloured } from "./shapes";

export class CrowdFigures {
  readonly mesh: InstancedMesh;
  private readonly places = new Float32Array(2 * FIGURES_MAX);

  constructor() {
    const body = coloured(new CapsuleGeometry(0.19, 1.06, 2, 6).translate(0, 0.73, 0), "#8b939b");
    const head = coloured(new SphereGeometry(0.14, 6, 5).translate(0, 1.6, 0), "#a3aab0");
    const shape = mergeGeometries([body, head]);
    this.mesh = new InstancedMesh(shape, new MeshLambertMaterial({ vertexColors: true }), FIGURES_MAX);
    this.mesh.frustumCulled = false;
    this.mesh.visible = false;
    const still = new Matrix4();
    for (let i = 0; i < FIGURES_MAX; i++) this.mesh.setMatrixAt(i, still);
  }

  draw(crowd: FarCrowd, tick: number): void {
    const { mesh, places } = this;
    const count = crowd.place(tick, places);
    mesh.visible = count > 0;
    mesh.count = count;
    if (count === 0) return;
    const values = mesh.instanceMatrix.array;
    for (let i = 0; i < count; i++) {
      values[16 * i + 12] = places[2 * i] ?? 0;
      values[16 * i + 14] = places[2 * i + 1] ?? 0;
    }
    mesh.instanceMatrix.needsUpdate = true;
  }
}
