/**
 * Loose things as instanced shapes, one draw call for each kind of shape. A kind whose name this page does not know is shown as a
 * crate: what is there must be seen, because it stops and is pushed. Not responsible for: people (figures.ts).
 */
import {
  BoxGeometry,
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

import { coloured, paint, spot, spotMaterial } from "./shapes";

const BALL_RADIUS_M = 0.3;
const CRATE_M = 0.8;
const WOOD = "#b98a55";

const lit = new MeshLambertMaterial({ vertexColors: true });

export interface Prop {
  readonly shape: "ball" | "crate";
  readonly x: number;
  readonly y: number;
  readonly z: number;
  readonly yaw: number;
  /** Metres gone: a ball rolls by them. */
  readonly walked: number;
  readonly colour: number | null;
}

export class Props {
  readonly group = new Group();
  private readonly balls = new Batch(this.group, ball(), lit);
  private readonly crates = new Batch(this.group, crate(), lit);
  private readonly shadows = new Batch(this.group, spot, spotMaterial);
  private readonly color = new Color();

  draw(props: readonly Prop[]): void {
    this.balls.begin(props.length);
    this.crates.begin(props.length);
    this.shadows.begin(props.length);
    for (const { shape, x, y, z, yaw, walked, colour } of props) {
      if (shape === "ball") {
        this.balls.put(x, y + BALL_RADIUS_M, z, yaw, walked / BALL_RADIUS_M, this.color.set(paint(colour ?? 0)));
        this.shadows.put(x, y + 0.02, z, 0, 0, null, 0.34);
      } else {
        this.crates.put(x, y, z, yaw, 0, this.color.set(colour === null ? WOOD : paint(colour)));
        this.shadows.put(x, y + 0.02, z, 0, 0, null, 0.66);
      }
    }
    this.balls.end();
    this.crates.end();
    this.shadows.end();
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
