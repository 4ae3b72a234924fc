/** Where a hand points to go, as dots along an arc and a ring on the ground; and the dark of a fade. Two draw calls, one more while dark. */
import {
  BackSide,
  Color,
  Group,
  InstancedMesh,
  Matrix4,
  Mesh,
  MeshBasicMaterial,
  RingGeometry,
  SphereGeometry,
} from "three";

import { ARC_POINTS_MAX, type Arc } from "../xr/arc";

const OPEN = new Color("#3fa7d6");
const SHUT = new Color("#c0562b");

export class Pointer {
  readonly group = new Group();
  private readonly dots: InstancedMesh;
  private readonly ring: Mesh<RingGeometry, MeshBasicMaterial>;
  private readonly material = new MeshBasicMaterial({ color: OPEN, transparent: true, opacity: 0.85, fog: false });

  constructor() {
    this.dots = new InstancedMesh(new SphereGeometry(0.018, 6, 4), this.material, ARC_POINTS_MAX);
    const still = new Matrix4();
    for (let i = 0; i < ARC_POINTS_MAX; i++) this.dots.setMatrixAt(i, still);
    this.dots.frustumCulled = false;
    this.ring = new Mesh(new RingGeometry(0.22, 0.32, 24).rotateX(-Math.PI / 2), this.material);
    this.group.add(this.dots, this.ring);
    this.group.visible = false;
  }

  /** Null: nothing is pointed at. */
  draw(arc: Arc | null): void {
    this.group.visible = arc !== null;
    if (arc === null) return;
    this.material.color.copy(arc.isOpen ? OPEN : SHUT);
    const values = this.dots.instanceMatrix.array;
    for (let i = 0; i < arc.count; i++) {
      for (let axis = 0; axis < 3; axis++) values[16 * i + 12 + axis] = arc.points[3 * i + axis] ?? 0;
    }
    this.dots.count = arc.count;
    this.dots.instanceMatrix.needsUpdate = true;
    this.ring.visible = arc.isOpen;
    this.ring.position.set(arc.x, 0.03, arc.z);
  }
}

/** A dark sphere about the eyes. */
export class Fade {
  readonly mesh: Mesh<SphereGeometry, MeshBasicMaterial>;

  constructor() {
    const material = new MeshBasicMaterial({ color: "#05080c", side: BackSide, transparent: true, fog: false });
    material.depthTest = material.depthWrite = false;
    this.mesh = new Mesh(new SphereGeometry(0.6, 12, 8), material);
    this.mesh.renderOrder = 1000;
    this.mesh.frustumCulled = false;
    this.mesh.visible = false;
  }

  set(amount: number): void {
    this.mesh.visible = amount > 0;
    this.mesh.material.opacity = amount;
  }
}
