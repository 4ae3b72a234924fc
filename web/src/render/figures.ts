/**
 * People as simple figures, instanced: each part of all of them is one draw call, however many there are.
 *
 * The gait follows the metres walked, so feet never slide. Of people whose head and hands are known the head is where it is, the trunk
 * hangs below it, the knees give way when they crouch, and arms reach from the shoulders to the hands. Nothing here makes objects in the
 * steady state. Not responsible for: where anybody is (world/).
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

import { LEFT, PART_STRIDE, RIGHT, type Pose } from "../protocol/poses";
import { scatter } from "../world/scatter";
import { coloured, dye, spot, spotMaterial } from "./shapes";

const HIP_M = 0.86;
const EYES_M = 1.66;
const SHOULDER_M = 1.4;
const SHOULDER_ASIDE_M = 0.25;
/** Of the arm's shape, from shoulder to hand. */
const ARM_M = 0.56;
/** Metres that one full stride of both legs takes. */
const STRIDE_M = 1.5;
const SWING_MAX = 0.75;
const CROUCH_MAX_M = 1.1;
const STRETCH_MAX_M = 0.4;
const DOWN = new Vector3(0, -1, 0);
/** A right hand, palm up, has its thumb where a left one has it. */
const OVER = new Quaternion(0, 0, 1, 0);
/** From the middle of the head to the eyes. */
const FACE_M = 0.06;
/** The colour of those without one. */
export const NO_COLOUR = -1;

export class Figures {
  readonly group = new Group();
  private capacity = 0;
  private count = 0;
  private hands = 0;
  private meshes: InstancedMesh[] = [];
  private torsos!: InstancedMesh;
  private heads!: InstancedMesh;
  private arms!: InstancedMesh;
  private legs!: InstancedMesh;
  private palms!: InstancedMesh;
  private shadows!: InstancedMesh;
  /** One for parts that have a colour of their own and one for those that have none: a shared one would be another program at each turn. */
  private readonly dyed = new MeshLambertMaterial({ vertexColors: true });
  private readonly plain = new MeshLambertMaterial({ vertexColors: true });
  private readonly shapes = {
    torso: torso(),
    head: head(),
    arm: arm(),
    leg: leg(),
    palm: palm(),
    shadow: spot.clone().scale(0.42, 1, 0.42),
  };
  private readonly matrix = new Matrix4();
  private readonly at = new Vector3();
  private readonly reach = new Vector3();
  private readonly turn = new Quaternion();
  private readonly euler = new Euler(0, 0, 0, "YXZ");
  private readonly size = new Vector3(1, 1, 1);
  private readonly color = new Color();
  private readonly dressedId: bigint[] = [];
  private readonly dressedColour: number[] = [];

  constructor() {
    this.grow(64);
  }

  /** A new picture, with at most so many people. */
  begin(atMost: number): void {
    this.count = this.hands = 0;
    if (atMost > this.capacity) this.grow(2 ** Math.ceil(Math.log2(atMost)));
  }

  /** Somebody at (x, y, z). `colour`: which of the page's colours their clothes have, NO_COLOUR: one that follows from the id. `pose`: from (x, y, z). */
  put(
    id: bigint,
    x: number,
    y: number,
    z: number,
    yaw: number,
    speed: number,
    walked: number,
    colour: number,
    pose: Pose | null,
  ): void {
    const i = this.count++;
    const phase = (walked / STRIDE_M) * 2 * Math.PI;
    const swing = Math.min(SWING_MAX, speed * 0.22) * Math.sin(phase);
    if (pose === null) this.stand(i, x, y, z, yaw, speed, phase, swing);
    else this.act(i, x, y, z, yaw, swing, pose);
    this.set(this.shadows, i, x, y + 0.02, z, 0, 0);
    if (this.dressedId[i] !== id || this.dressedColour[i] !== colour) this.dress(i, id, colour);
  }

  /** Hands alone, as one sees one's own. `pose` in the world. */
  putHands(pose: Pose): void {
    for (let hand = LEFT; hand <= RIGHT; hand++) if ((pose.tracked & (1 << hand)) !== 0) this.palm(hand, pose, 0, 0, 0);
  }

  end(): void {
    this.torsos.count = this.heads.count = this.shadows.count = this.count;
    this.arms.count = this.legs.count = 2 * this.count;
    this.palms.count = this.hands;
    for (const mesh of this.meshes) {
      mesh.visible = mesh.count > 0;
      mesh.instanceMatrix.needsUpdate = true;
    }
  }

  private stand(
    i: number,
    x: number,
    y: number,
    z: number,
    yaw: number,
    speed: number,
    phase: number,
    swing: number,
  ): void {
    const bob = Math.min(0.05, speed * 0.012) * Math.abs(Math.cos(phase));
    const lean = -Math.min(0.16, speed * 0.02);
    this.set(this.torsos, i, x, y + bob, z, yaw, lean);
    this.at.set(0, EYES_M, -FACE_M).applyQuaternion(this.turn);
    this.set(this.heads, i, x + this.at.x, y + bob + this.at.y, z + this.at.z, yaw, lean);
    const sin = Math.sin(yaw);
    const cos = Math.cos(yaw);
    for (let side = -1; side <= 1; side += 2) {
      const k = 2 * i + (side + 1) / 2;
      this.leg(k, x, y + HIP_M, z, yaw, side, -side * swing, 1);
      const aside = side * SHOULDER_ASIDE_M;
      this.set(this.arms, k, x + cos * aside, y + SHOULDER_M + bob, z - sin * aside, yaw, side * swing * 0.7);
    }
  }

  private act(i: number, x: number, y: number, z: number, bodyYaw: number, swing: number, pose: Pose): void {
    const { parts } = pose;
    const hx = x + (parts[0] ?? 0);
    const hy = y + (parts[1] ?? 0);
    const hz = z + (parts[2] ?? 0);
    this.turn.set(parts[3] ?? 0, parts[4] ?? 0, parts[5] ?? 0, parts[6] ?? 1);
    this.reach.set(0, 0, -1).applyQuaternion(this.turn);
    const level = Math.hypot(this.reach.x, this.reach.z);
    const yaw = level > 0.2 ? Math.atan2(-this.reach.x, -this.reach.z) : bodyYaw;
    this.heads.setMatrixAt(i, this.matrix.compose(this.at.set(hx, hy, hz), this.turn, this.size));
    const drop = Math.min(STRETCH_MAX_M, Math.max(-CROUCH_MAX_M, hy - y - EYES_M));
    const sin = Math.sin(yaw);
    const cos = Math.cos(yaw);
    const tx = hx + FACE_M * sin;
    const tz = hz + FACE_M * cos;
    this.set(this.torsos, i, tx, y + drop, tz, yaw, 0);
    for (let side = -1; side <= 1; side += 2) {
      const k = 2 * i + (side + 1) / 2;
      this.leg(k, tx, y + HIP_M + Math.min(0, drop), tz, yaw, side, -side * swing, 1 + Math.min(0, drop) / HIP_M);
      const hand = side < 0 ? LEFT : RIGHT;
      const shoulder = this.at.set(
        tx + cos * side * SHOULDER_ASIDE_M,
        y + SHOULDER_M + drop,
        tz - sin * side * SHOULDER_ASIDE_M,
      );
      if ((pose.tracked & (1 << hand)) === 0) {
        this.set(this.arms, k, shoulder.x, shoulder.y, shoulder.z, yaw, 0);
        continue;
      }
      const at = hand * PART_STRIDE;
      this.reach.set(x + (parts[at] ?? 0), y + (parts[at + 1] ?? 0), z + (parts[at + 2] ?? 0)).sub(shoulder);
      const length = Math.max(0.05, this.reach.length());
      this.turn.setFromUnitVectors(DOWN, this.reach.divideScalar(length));
      this.arms.setMatrixAt(k, this.matrix.compose(shoulder, this.turn, this.size.set(1, length / ARM_M, 1)));
      this.size.setScalar(1);
      this.palm(hand, pose, x, y, z);
    }
  }

  private palm(hand: number, pose: Pose, x: number, y: number, z: number): void {
    const { parts, grips } = pose;
    const at = hand * PART_STRIDE;
    this.turn.set(parts[at + 3] ?? 0, parts[at + 4] ?? 0, parts[at + 5] ?? 0, parts[at + 6] ?? 1);
    // A closed hand is shorter.
    if (hand === LEFT) this.turn.multiply(OVER);
    this.size.set(1, 1, 1 - 0.35 * Math.max(grips[2 * hand - 2] ?? 0, grips[2 * hand - 1] ?? 0));
    this.at.set(x + (parts[at] ?? 0), y + (parts[at + 1] ?? 0), z + (parts[at + 2] ?? 0));
    if (this.hands < 2 * this.capacity)
      this.palms.setMatrixAt(this.hands++, this.matrix.compose(this.at, this.turn, this.size));
    this.size.setScalar(1);
  }

  private leg(
    k: number,
    x: number,
    y: number,
    z: number,
    yaw: number,
    side: number,
    swing: number,
    long: number,
  ): void {
    this.size.set(1, Math.max(0.15, long), 1);
    this.set(this.legs, k, x + Math.cos(yaw) * side * 0.1, y, z - Math.sin(yaw) * side * 0.1, yaw, swing);
    this.size.setScalar(1);
  }

  private set(mesh: InstancedMesh, i: number, x: number, y: number, z: number, yaw: number, pitch: number): void {
    this.turn.setFromEuler(this.euler.set(pitch, yaw, 0));
    mesh.setMatrixAt(i, this.matrix.compose(this.at.set(x, y, z), this.turn, this.size));
  }

  private dress(i: number, id: bigint, colour: number): void {
    this.dressedId[i] = id;
    this.dressedColour[i] = colour;
    const key = Number(BigInt.asIntN(32, id ^ (id >> 32n)));
    const dress = dye(colour === NO_COLOUR ? Math.floor(scatter(key) * 4096) : colour);
    this.torsos.setColorAt(i, dress);
    for (const k of [2 * i, 2 * i + 1]) this.arms.setColorAt(k, dress);
    this.color.setHSL(0.58, 0.15 * scatter(key + 1), 0.14 + 0.2 * scatter(key + 2));
    for (const k of [2 * i, 2 * i + 1]) this.legs.setColorAt(k, this.color);
    for (const mesh of [this.torsos, this.arms, this.legs]) {
      if (mesh.instanceColor !== null) mesh.instanceColor.needsUpdate = true;
    }
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
    this.dressedId.length = this.dressedColour.length = 0;
    this.torsos = make(this.shapes.torso, this.dyed, capacity);
    this.heads = make(this.shapes.head, this.plain, capacity);
    this.arms = make(this.shapes.arm, this.dyed, 2 * capacity);
    this.legs = make(this.shapes.leg, this.dyed, 2 * capacity);
    this.palms = make(this.shapes.palm, this.plain, 2 * capacity);
    this.shadows = make(this.shapes.shadow, spotMaterial, capacity);
    this.meshes = [this.torsos, this.heads, this.arms, this.legs, this.palms, this.shadows];
  }
}

function torso(): BufferGeometry {
  return coloured(new CapsuleGeometry(0.2, 0.34, 3, 8).scale(1.1, 1, 0.75).translate(0, 1.16, 0), "#ffffff");
}

/** Its origin is between the eyes. */
function head(): BufferGeometry {
  const face = coloured(new SphereGeometry(0.125, 10, 8).scale(0.92, 1.12, 1), "#dfb294");
  const hair = coloured(
    new SphereGeometry(0.132, 10, 6, 0, 2 * Math.PI, 0, 1.5).scale(0.96, 1.08, 1.04).translate(0, 0.03, 0.015),
    "#4a3629",
  );
  const nose = coloured(new SphereGeometry(0.022, 6, 4).translate(0, -0.015, -0.125), "#d0a184");
  return mergeGeometries([face, hair, nose]).translate(0, 0, FACE_M);
}

/** Its origin is the shoulder. */
function arm(): BufferGeometry {
  return coloured(new CapsuleGeometry(0.055, ARM_M - 0.08, 2, 6).translate(0, -ARM_M / 2, 0), "#e6e6e6");
}

function leg(): BufferGeometry {
  const limb = coloured(new CapsuleGeometry(0.085, 0.66, 2, 6).translate(0, -0.42, 0), "#ffffff");
  const shoe = coloured(new SphereGeometry(0.09, 6, 4).scale(0.9, 0.6, 1.6).translate(0, -0.8, -0.06), "#5a5a5a");
  return mergeGeometries([limb, shoe]);
}

/** A right hand as a mitten: −Z ahead, its thumb to the left. */
function palm(): BufferGeometry {
  const mitten = coloured(new SphereGeometry(0.05, 10, 8).scale(0.85, 0.55, 1.5).translate(0, 0, -0.04), "#dfb294");
  const thumb = coloured(new SphereGeometry(0.02, 6, 4).scale(1, 1, 1.8).translate(-0.048, 0.01, -0.05), "#d0a184");
  return mergeGeometries([mitten, thumb]);
}
