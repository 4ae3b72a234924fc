/**
 * Loose things as instanced shapes, one draw call for each kind of shape. A kind whose name this page does not know is shown as a
 * crate: what is there must be seen, because it stops and is pushed. Nothing here makes objects in the steady state. Not responsible for:
 * people (figures.ts), which shape a thing has (picture.ts).
 */
import {
  BoxGeometry,
  Color,
  CylinderGeometry,
  Euler,
  Group,
  InstancedMesh,
  Matrix4,
  MeshLambertMaterial,
  Quaternion,
  SphereGeometry,
  TorusGeometry,
  Vector3,
  type BufferGeometry,
  type Material,
} from "three";
import { mergeGeometries } from "three/addons/utils/BufferGeometryUtils.js";

import { NO_COLOUR } from "./figures";
import { coloured, dye, spot, spotMaterial } from "./shapes";

const BALL_RADIUS_M = 0.3;
const CRATE_M = 0.8;
/** What has no colour of its own. */
const BARE: Readonly<Record<Shape, Color>> = {
  ...{ ball: new Color("#c8553d"), crate: new Color("#b98a55"), cup: new Color("#e8e4da") },
  ...{ trinket: new Color("#7d8fa3"), bell: new Color("#c79a2b"), seat: new Color("#8a6a48") },
};
/** Radius of the spot below; 0: none, since what can be held is seldom near the ground. */
const SHADOW_M: Readonly<Record<Shape, number>> = { ball: 0.34, crate: 0.66, cup: 0, trinket: 0, bell: 0, seat: 0.6 };

const lit = new MeshLambertMaterial({ vertexColors: true });

/** Shapes that this page knows. `crate`: whatever stands in the way; `trinket`: whatever can be held. */
export type Shape = "ball" | "crate" | "cup" | "trinket" | "bell" | "seat";

export class Props {
  readonly group = new Group();
  private readonly batches: Readonly<Record<Shape, Batch>> = {
    ball: new Batch(this.group, ball(), lit),
    crate: new Batch(this.group, crate(), lit),
    cup: new Batch(this.group, cup(), lit),
    trinket: new Batch(this.group, trinket(), lit),
    bell: new Batch(this.group, bell(), lit),
    seat: new Batch(this.group, seat(), lit),
  };
  private readonly all = Object.values(this.batches);
  private readonly shadows = new Batch(this.group, spot, spotMaterial);
  private readonly at = new Vector3();
  private readonly turn = new Quaternion();

  /** A new picture, with at most so many things. */
  begin(atMost: number): void {
    for (const batch of this.all) batch.begin(atMost);
    this.shadows.begin(atMost);
  }

  /** A thing whose foot is at (x, y, z). `walked`: metres gone, by which a ball rolls; `colour`: one of the page's, or NO_COLOUR. */
  put(shape: Shape, x: number, y: number, z: number, yaw: number, walked: number, colour: number): void {
    const isBall = shape === "ball";
    const up = isBall ? BALL_RADIUS_M : 0;
    this.batches[shape].put(x, y + up, z, yaw, isBall ? walked / BALL_RADIUS_M : 0, this.paint(shape, colour));
    const spread = SHADOW_M[shape];
    if (spread > 0) this.shadows.put(x, y + 0.02, z, 0, 0, null, spread);
  }

  /** A thing in a hand: where `hand` is in `values` (x, y, z, and its rotation x, y, z, w), away from (x, y, z). */
  putHeld(shape: Shape, x: number, y: number, z: number, values: Float32Array, hand: number, colour: number): void {
    this.turn.set(values[hand + 3] ?? 0, values[hand + 4] ?? 0, values[hand + 5] ?? 0, values[hand + 6] ?? 1);
    this.at.set(0, -0.03, -0.07).applyQuaternion(this.turn);
    this.at.x += x + (values[hand] ?? 0);
    this.at.y += y + (values[hand + 1] ?? 0);
    this.at.z += z + (values[hand + 2] ?? 0);
    this.batches[shape].putTurned(this.at, this.turn, this.paint(shape, colour));
  }

  end(): void {
    for (const batch of this.all) batch.end();
    this.shadows.end();
  }

  private paint(shape: Shape, colour: number): Color {
    return colour === NO_COLOUR ? BARE[shape] : dye(colour);
  }
}

/** Instances of one shape; grows to what is asked for. */
class Batch {
  private readonly matrix = new Matrix4();
  private readonly at = new Vector3();
  private readonly turn = new Quaternion();
  private readonly euler = new Euler(0, 0, 0, "YXZ");
  private readonly size = new Vector3();
  private mesh: InstancedMesh;
  private capacity = 64;

  constructor(
    private readonly group: Group,
    private readonly shape: BufferGeometry,
    private readonly material: Material,
  ) {
    this.mesh = this.make();
  }

  begin(atMost: number): void {
    this.mesh.count = 0;
    if (atMost <= this.capacity) return;
    this.group.remove(this.mesh);
    this.mesh.dispose();
    this.capacity = 2 ** Math.ceil(Math.log2(atMost));
    this.mesh = this.make();
  }

  put(x: number, y: number, z: number, yaw: number, pitch: number, color: Color | null, size = 1): void {
    this.turn.setFromEuler(this.euler.set(-pitch, yaw, 0));
    this.mesh.setMatrixAt(
      this.mesh.count,
      this.matrix.compose(this.at.set(x, y, z), this.turn, this.size.setScalar(size)),
    );
    if (color !== null) this.mesh.setColorAt(this.mesh.count, color);
    this.mesh.count++;
  }

  putTurned(at: Vector3, turn: Quaternion, color: Color): void {
    this.mesh.setMatrixAt(this.mesh.count, this.matrix.compose(at, turn, this.size.setScalar(1)));
    this.mesh.setColorAt(this.mesh.count, color);
    this.mesh.count++;
  }

  end(): void {
    this.mesh.visible = this.mesh.count > 0;
    this.mesh.instanceMatrix.needsUpdate = true;
    if (this.mesh.instanceColor !== null) this.mesh.instanceColor.needsUpdate = true;
  }

  private make(): InstancedMesh {
    const mesh = new InstancedMesh(this.shape, this.material, this.capacity);
    mesh.frustumCulled = false;
    mesh.count = 0;
    this.group.add(mesh);
    return mesh;
  }
}

/** A ball with a white belt, so that one sees it roll. */
function ball(): BufferGeometry {
  const skin = coloured(new SphereGeometry(BALL_RADIUS_M, 16, 12), "#ffffff");
  const belt = coloured(
    new SphereGeometry(BALL_RADIUS_M + 0.004, 16, 3, 0, 2 * Math.PI, 1.4, 0.34).rotateZ(Math.PI / 2),
    "#f4efe2",
  );
  // The belt keeps its colour under the instance's: it is brighter than any of them.
  const bright = belt.getAttribute("color");
  for (let i = 0; i < bright.count; i++) bright.setXYZ(i, 2.4, 2.4, 2.4);
  return mergeGeometries([skin, belt]);
}

function crate(): BufferGeometry {
  const half = CRATE_M / 2;
  const boards = coloured(new BoxGeometry(CRATE_M - 0.06, CRATE_M - 0.06, CRATE_M - 0.06), "#d9d9d9");
  const rails = [];
  for (const a of [-1, 1]) {
    for (const b of [-1, 1]) {
      const [p, q] = [a * (half - 0.04), b * (half - 0.04)];
      rails.push(coloured(new BoxGeometry(CRATE_M, 0.08, 0.08).translate(0, p, q), "#ffffff"));
      rails.push(coloured(new BoxGeometry(0.08, CRATE_M, 0.08).translate(p, 0, q), "#ffffff"));
      rails.push(coloured(new BoxGeometry(0.08, 0.08, CRATE_M).translate(p, q, 0), "#ffffff"));
    }
  }
  return mergeGeometries([boards, ...rails]).translate(0, half, 0);
}

/** Its middle is where a hand holds it. */
function cup(): BufferGeometry {
  const body = coloured(new CylinderGeometry(0.045, 0.036, 0.1, 12, 1, true), "#ffffff");
  const bottom = coloured(new CylinderGeometry(0.038, 0.036, 0.012, 12).translate(0, -0.044, 0), "#e2e2e2");
  const inside = coloured(new CylinderGeometry(0.043, 0.034, 0.1, 12, 1, true).scale(-1, 1, 1), "#a8a39a");
  const handle = coloured(new TorusGeometry(0.027, 0.007, 5, 10).translate(0.062, 0, 0), "#f4f4f4");
  return mergeGeometries([body, bottom, inside, handle]);
}

function trinket(): BufferGeometry {
  return coloured(new BoxGeometry(0.12, 0.12, 0.12), "#ffffff");
}

function bell(): BufferGeometry {
  const mouth = coloured(new CylinderGeometry(0.07, 0.15, 0.18, 14).translate(0, 0, 0), "#ffffff");
  const crown = coloured(new SphereGeometry(0.07, 12, 6).translate(0, 0.09, 0), "#f2f2f2");
  const clapper = coloured(new SphereGeometry(0.03, 8, 6).translate(0, -0.1, 0), "#8a8a8a");
  return mergeGeometries([mouth, crown, clapper]);
}

function seat(): BufferGeometry {
  const board = coloured(new BoxGeometry(0.9, 0.08, 0.7).translate(0, 0.44, 0), "#ffffff");
  const box = coloured(new BoxGeometry(0.8, 0.36, 0.6).translate(0, 0.22, 0), "#c9c9c9");
  return mergeGeometries([board, box]);
}
