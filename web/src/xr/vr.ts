/**
 * Being in the world with a headset: composes the headset's shell with the rig, controls, arc, held things and poses to say.
 *
 * Not responsible for: rules of comfort (rig.ts), what fingers mean (controls.ts), connections (net/), everybody else (render/picture.ts).
 */
import { Quaternion, Vector3 } from "three";

import type { Game, Wish } from "../game";
import type { Shell } from "../net/shell";
import { HEAD, LEFT, newPose, PART_STRIDE, RIGHT, type Pose } from "../protocol/poses";
import type { OwnHands } from "../render/picture";
import { Fade, Pointer } from "../render/pointer";
import { Names, Sign } from "../render/sign";
import type { Stage } from "../render/stage";
import type { Ground } from "../walk";
import type { Entity } from "../world/entities";
import { HeldThings, nearestTo, pressOf, REACH_M, type Act } from "../world/hands";
import { Arc } from "./arc";
import { Controls, newFingers } from "./controls";
import { Headset } from "./headset";
import { Rig } from "./rig";
import { PoseSayer } from "./saying";

/** The body is told another direction when the head has turned by so much. */
const HEADING_STEP = Math.PI / 24;

export class Vr implements OwnHands {
  /** In the world. */
  readonly pose = newPose();
  readonly rig = new Rig();
  readonly arc = new Arc();
  private readonly room = newPose();
  private readonly aimRoom = newPose();
  private readonly aim = newPose();
  private readonly left = newFingers();
  private readonly right = newFingers();
  private readonly controls = new Controls();
  private readonly sayer = new PoseSayer();
  private readonly held = new HeldThings();
  private readonly pointer = new Pointer();
  private readonly fade = new Fade();
  private readonly sign = new Sign();
  private readonly names = new Names();
  private readonly eye = new Vector3();
  private readonly ahead = new Vector3();
  private readonly turned = new Quaternion();
  /** The newest line. */
  said = "";
  private headset: Headset | null = null;
  private body: bigint | null = null;
  private headYaw = 0;
  private heading = 0;
  private readonly nameOf = (id: bigint, number: number) => this.game.nameOf(id, number);
  private readonly isHoldable = (entity: Entity) => this.game.entities.isHoldable(entity.number);
  private readonly isPressable = (entity: Entity) =>
    !this.isHoldable(entity) && !this.game.entities.isPerson(entity.kind);

  constructor(
    private readonly stage: Stage,
    private readonly game: Game,
    private readonly shell: Shell,
  ) {
    stage.scene.add(this.pointer.group, this.sign.mesh, this.names.group);
    stage.camera.add(this.fade.mesh);
    this.hide();
  }

  get isOn(): boolean {
    return this.headset !== null;
  }

  get isAiming(): boolean {
    return this.controls.isAiming;
  }

  /** Put the headset on: the same body, as a client of profile vr. Rejects if there is none or the person refuses. */
  async enter(): Promise<void> {
    if (this.isOn) return;
    this.headset = await Headset.open(this.stage, () => {
      this.wentOut();
    });
    this.welcomed(this.game.welcome?.body ?? null);
    this.rig.reset();
    this.names.group.visible = true;
    this.shell.run(this.shell.session.become("vr"));
  }

  exit(): void {
    this.headset?.close();
  }

  /** A line of text for somebody who does not see the page. */
  say(text: string): void {
    if (!this.isOn) return;
    this.said = text;
    this.sign.show(text);
  }

  welcomed(body: bigint | null): void {
    if (body === this.body) return;
    this.body = body;
    this.held.clear();
    this.rig.reset();
  }

  heard(name: string, payload: unknown): void {
    this.held.heard(name, payload);
  }

  holds(hand: number): bigint | null {
    return this.held.holds(hand);
  }

  /** What the body is to do: go where the left stick points, or after the head; look where the head looks. */
  get wish(): Wish {
    const { controls, rig } = this;
    const heading = this.heading;
    if (!controls.isWalking) return { moveX: rig.afterX, moveZ: rig.afterZ, buttons: 0, heading };
    const [sin, cos] = [Math.sin(this.headYaw), Math.cos(this.headYaw)];
    const { walkX, walkZ } = controls;
    return { moveX: cos * walkX + sin * walkZ, moveZ: -sin * walkX + cos * walkZ, buttons: 0, heading };
  }

  /** Say where head and hands are, if it is time. */
  speak(nowMs: number): void {
    const samples = this.isOn ? this.sayer.say(nowMs) : null;
    if (samples !== null) this.shell.run(this.shell.session.pose(samples, nowMs));
  }

  /** One frame of the headset. `ground`: what one can stand on, as far as it is known. */
  frame(frame: XRFrame, ground: Ground | null, nowMs: number, dtS: number): void {
    const { headset, game, rig, room, controls } = this;
    const { body } = game;
    if (headset === null || body === null || this.body === null) return;
    if (!headset.read(frame, room, this.aimRoom, this.left, this.right)) return;
    const [headX = 0, , headZ = 0] = room.parts;
    controls.read(this.left, this.right);
    if (controls.turn !== 0) rig.turn(controls.turn, headX, headZ);
    const [x, y, z] = body.feet;
    rig.update(dtS, x, y, z, headX, headZ, controls.isWalking);
    rig.carry(room, this.pose);
    rig.carry(this.aimRoom, this.aim);
    this.look();
    this.sayer.track(this.pose, x, y, z, nowMs);
    this.held.check(game.entities, this.body, dtS);
    this.handle(headset, LEFT, controls.left);
    this.handle(headset, RIGHT, controls.right);
    this.go(headset, ground);
    this.show(dtS);
  }

  private look(): void {
    const { ahead } = this;
    this.point(this.pose, HEAD);
    if (Math.hypot(ahead.x, ahead.z) > 0.2) this.headYaw = Math.atan2(-ahead.x, -ahead.z);
    const off = this.headYaw - this.heading;
    if (Math.abs(off - 2 * Math.PI * Math.round(off / (2 * Math.PI))) > HEADING_STEP) this.heading = this.headYaw;
  }

  /** `ahead` becomes the direction in which a part points. */
  private point({ parts }: Pose, part: number): void {
    const at = part * PART_STRIDE;
    this.turned.set(parts[at + 3] ?? 0, parts[at + 4] ?? 0, parts[at + 5] ?? 0, parts[at + 6] ?? 1);
    this.ahead.set(0, 0, -1).applyQuaternion(this.turned);
  }

  private handle(headset: Headset, hand: number, fingers: { took: boolean; letGo: boolean; pressed: boolean }): void {
    if (!fingers.took && !fingers.letGo && !fingers.pressed) return;
    const { entities } = this.game;
    if (fingers.took && this.held.holds(hand) === null) {
      const thing = nearestTo(entities, this.pose, hand, REACH_M, this.isHoldable);
      if (thing !== null) {
        headset.buzz(hand, 0.4);
        this.act(headset, hand, this.held.grab(thing.id, hand), (done, value) => {
          this.held.answered(thing.id, hand, done, value);
        });
      }
    }
    if (fingers.letGo && this.body !== null) {
      const act = this.held.release(hand, entities, this.body);
      if (act !== null) this.act(headset, hand, act, ignore);
    }
    if (fingers.pressed) {
      const thing = nearestTo(entities, this.pose, hand, 2 * REACH_M, this.isPressable);
      if (thing === null) return;
      const act = pressOf(entities, thing.id, thing.number, hand);
      this.act(headset, hand, act, (done) => {
        if (done) headset.buzz(hand, 0.7);
        if (done && act.name === "sit") this.rig.isRiding = true;
      });
    }
  }

  private go(headset: Headset, ground: Ground | null): void {
    const { controls, aim, arc, ahead } = this;
    const canAim = (aim.tracked & (1 << RIGHT)) !== 0 && ground !== null;
    if (canAim && (controls.isAiming || controls.goes)) {
      const at = RIGHT * PART_STRIDE;
      const [x = 0, y = 0, z = 0] = [aim.parts[at], aim.parts[at + 1], aim.parts[at + 2]];
      this.point(aim, RIGHT);
      arc.cast(ground, x, y, z, ahead.x, ahead.y, ahead.z);
    }
    this.pointer.draw(canAim && controls.isAiming ? arc : null);
    if (!canAim || !controls.goes) return;
    if (this.rig.isRiding) {
      this.act(headset, RIGHT, { name: "stand", payload: {} }, (done) => {
        if (done) this.rig.isRiding = false;
      });
    } else if (arc.isOpen) {
      this.rig.asked();
      this.act(headset, RIGHT, { name: "teleport", payload: { x: arc.x, z: arc.z } }, (done, value) => {
        const to = (done ? value : null) as { x?: unknown; z?: unknown } | null;
        const isPlace = typeof to?.x === "number" && typeof to.z === "number";
        this.rig.answered(isPlace ? (to.x as number) : null, isPlace ? (to.z as number) : null);
      });
    }
  }

  private show(dtS: number): void {
    const { rig, pose, stage } = this;
    stage.rig.position.set(rig.x, rig.y, rig.z);
    stage.rig.rotation.set(0, rig.yaw, 0);
    this.eye.set(pose.parts[0] ?? 0, pose.parts[1] ?? 0, pose.parts[2] ?? 0);
    this.fade.set(rig.fade);
    this.sign.draw(dtS, this.eye.x, this.eye.y, this.eye.z, this.headYaw);
    this.names.draw(this.game.entities.all, this.eye, this.nameOf);
  }

  private act(headset: Headset, hand: number, act: Act, told: (done: boolean, value: unknown) => void): void {
    const refused = (error: unknown) => {
      told(false, null);
      headset.buzz(hand, 1);
      this.say(error instanceof Error ? error.message : String(error));
    };
    try {
      this.shell.act(act.name, act.payload).then((value) => {
        told(true, value);
      }, refused);
    } catch (error) {
      refused(error); // too many wait for an answer
    }
  }

  /** The headset is off: the same body at a desktop again. */
  private wentOut(): void {
    this.headset = null;
    this.sayer.clear();
    this.held.clear();
    this.rig.reset();
    this.hide();
    this.shell.run(this.shell.session.become("desktop"));
  }

  private hide(): void {
    this.pointer.draw(null);
    this.fade.set(0);
    this.sign.mesh.visible = this.names.group.visible = false;
    this.stage.rig.position.set(0, 0, 0);
    this.stage.rig.rotation.set(0, 0, 0);
  }
}

function ignore(): void {
  // What was let go falls where the world says.
}
