/**
 * People as simple figures, instanced: torsos, heads, legs and shadows are one draw call each, however many there are.
 * The gait follows the metres walked, so feet never slide. Not responsible for: where anybody is (world/).
 */
import {
  CapsuleGeometry,
  Color,
  Euler,
  Group,
  InstancedMesh,
  Matrix4,
  MeshLambertMaterial,
  Quaternion,
  SphereGeometry,
  Vector3,
  type BufferGeometry,
  type Material,
} from "three";
import { mergeGeometries } from "three/addons/utils/BufferGeometryUtils.js";

import { scatter } from "./geometry";
import { coloured, paint, spot, spotMaterial } from "./shapes";

const HIP_M = 0.86;
/** Metres that one full stride of both legs takes. */
const STRIDE_M = 1.5;
const SWING_MAX = 0.75;

export interface Figure {
  readonly id: bigint;
  readonly x: number;
  readonly y: number;
  readonly z: number;
  readonly yaw: number;
  readonly speed: number;
  readonly walked: number;
  /** Which of the page's colours their clothes have; null: one that follows from the id. */
  readonly colour: number | null;
}

export class Figures {
  readonly group = new Group();
  private capacity = 0;
  private meshes: InstancedMesh[] = [];
  private torsos!: InstancedMesh;
  private heads!: InstancedMesh;
  private legs!: InstancedMesh;
  private shadows!: InstancedMesh;
  private readonly lit = new MeshLambertMaterial({ vertexColors: true });
  private readonly shapes = {
    torso: torso(),
    head: head(),
    leg: leg(),
    shadow: spot.clone().scale(0.42, 1, 0.42),
  };
  private readonly matrix = new Matrix4();
  private readonly at = new Vector3();
  private readonly turn = new Quaternion();
  private readonly euler = new Euler(0, 0, 0, "YXZ");
  private readonly one = new Vector3(1, 1, 1);
  private readonly color = new Color();
  private clothed: string[] = [];

  constructor() {
    this.grow(64);
  }

  draw(figures: readonly Figure[]): void {
    if (figures.length > this.capacity) this.grow(2 ** Math.ceil(Math.log2(figures.length)));
    figures.forEach((figure, i) => {
      const { x, y, z, yaw } = figure;
      const phase = (figure.walked / STRIDE_M) * 2 * Math.PI;
      const swing = Math.min(SWING_MAX, figure.speed * 0.22) * Math.sin(phase);
      const bob = Math.min(0.05, figure.speed * 0.012) * Math.abs(Math.cos(phase));
      const lean = -Math.min(0.16, figure.speed * 0.02);
      this.put(this.torsos, i, x, y + bob, z, yaw, lean);
      this.put(this.heads, i, x, y + bob, z, yaw, lean);
      this.put(this.legs, 2 * i, x - Math.cos(yaw) * 0.1, y + HIP_M, z + Math.sin(yaw) * 0.1, yaw, swing);
      this.put(this.legs, 2 * i + 1, x + Math.cos(yaw) * 0.1, y + HIP_M, z - Math.sin(yaw) * 0.1, yaw, -swing);
      this.put(this.shadows, i, x, y + 0.02, z, 0, 0);
      const dress = `${figure.id} ${figure.colour ?? ""}`;
      if (this.clothed[i] !== dress) {
        this.clothed[i] = dress;
        this.clothe(i, figure);
      }
    });
    for (const mesh of [this.torsos, this.heads, this.shadows]) mesh.count = figures.length;
    this.legs.count = 2 * figures.length;
    for (const mesh of this.meshes) mesh.instanceMatrix.needsUpdate = true;
  }

  private put(mesh: InstancedMesh, i: number, x: number, y: number, z: number, yaw: number, pitch: number): void {
    this.turn.setFromEuler(this.euler.set(pitch, yaw, 0));
    mesh.setMatrixAt(i, this.matrix.compose(this.at.set(x, y, z), this.turn, this.one));
  }

  private clothe(i: number, { id, colour }: Figure): void {
    const key = Number(BigInt.asIntN(32, id ^ (id >> 32n)));
    this.torsos.setColorAt(i, this.color.set(paint(colour ?? Math.floor(scatter(key) * 4096))));
    const trousers = this.color.setHSL(0.58, 0.15 * scatter(key + 1), 0.14 + 0.2 * scatter(key + 2));
    this.legs.setColorAt(2 * i, trousers);
    this.legs.setColorAt(2 * i + 1, trousers);
    for (const mesh of [this.torsos, this.legs]) if (mesh.instanceColor !== null) mesh.instanceColor.needsUpdate = true;
  }

  private grow(capacity: number): void {
    for (const mesh of this.meshes) {
      this.group.remove(mesh);
      mesh.dispose();
    }
    const make = (shape: BufferGeometry, material: Material, count: number) => {
      const mesh = new InstancedMesh(shape, material, count);
      mesh.frustumCulled = false;
      this.group.add(mesh);
      return mesh;
    };
    this.capacity = capacity;
    this.clothed = [];
    this.torsos = make(this.shapes.torso, this.lit, capacity);
    this.heads = make(this.shapes.head, this.lit, capacity);
    this.legs = make(this.shapes.leg, this.lit, 2 * capacity);
    this.shadows = make(this.shapes.shadow, spotMaterial, capacity);
    this.meshes = [this.torsos, this.heads, this.legs, this.shadows];
  }
}

function torso(): BufferGeometry {
  const body = coloured(new CapsuleGeometry(0.2, 0.34, 3, 8).scale(1.1, 1, 0.75).translate(0, 1.16, 0), "#ffffff");
  const left = coloured(new CapsuleGeometry(0.06, 0.48, 2, 6).translate(-0.28, 1.14, 0), "#e6e6e6");
  const right = coloured(new CapsuleGeometry(0.06, 0.48, 2, 6).translate(0.28, 1.14, 0), "#e6e6e6");
  return mergeGeometries([body, left, right]);
}

function head(): BufferGeometry {
  const face = coloured(new SphereGeometry(0.125, 10, 8).scale(0.92, 1.12, 1).translate(0, 1.66, 0), "#dfb294");
  const hair = coloured(
    new SphereGeometry(0.132, 10, 6, 0, 2 * Math.PI, 0, 1.5).scale(0.96, 1.08, 1.04).translate(0, 1.69, 0.015),
    "#4a3629",
  );
  return mergeGeometries([face, hair]);
}

function leg(): BufferGeometry {
  const limb = coloured(new CapsuleGeometry(0.085, 0.66, 2, 6).translate(0, -0.42, 0), "#ffffff");
  const shoe = coloured(new SphereGeometry(0.09, 6, 4).scale(0.9, 0.6, 1.6).translate(0, -0.8, -0.06), "#5a5a5a");
  return mergeGeometries([limb, shoe]);
}
