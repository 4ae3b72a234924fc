/**
 * The headset's shell: asks the browser for a session and reads its frames into plain numbers. It decides nothing.
 *
 * Not responsible for: what the numbers mean (rig.ts, controls.ts), drawing.
 */
import { HEAD, LEFT, PART_STRIDE, RIGHT, TRACKED_HEAD, type Pose } from "../protocol/poses";
import type { Stage } from "../render/stage";
import type { Fingers } from "./controls";

/** More pictures in a second than this cost more than they show. */
const RATE_MAX_HZ = 90;
const NEAR_M = 0.05;
/** Buttons and axes of the WebXR gamepad mapping "xr-standard". */
const TRIGGER = 0;
const SQUEEZE = 1;
const STICK_X = 2;
const STICK_Y = 3;

/** Whether there is a headset that this page can be shown in. */
export async function hasHeadset(): Promise<boolean> {
  try {
    return (await navigator.xr?.isSessionSupported("immersive-vr")) ?? false;
  } catch {
    return false; // refused by a policy of the browser: no button
  }
}

export class Headset {
  private constructor(
    private readonly stage: Stage,
    private readonly session: XRSession,
  ) {}

  /** To be called while the browser still honours the person's click. Rejects if the person or the browser refuses. */
  static async open(stage: Stage, ended: () => void): Promise<Headset> {
    if (navigator.xr === undefined) throw new Error("this browser has no WebXR");
    const session = await navigator.xr.requestSession("immersive-vr", {
      requiredFeatures: ["local-floor"],
      optionalFeatures: ["hand-tracking"],
    });
    const { renderer, camera } = stage;
    const { near, fov } = camera; // a session sets both
    const restore = () => {
      renderer.xr.removeEventListener("sessionend", restore);
      camera.near = near;
      camera.fov = fov;
      camera.zoom = 1;
      camera.position.set(0, 0, 0);
      camera.quaternion.identity();
      stage.resize();
      camera.updateProjectionMatrix();
      ended();
    };
    camera.near = NEAR_M;
    renderer.xr.enabled = true;
    renderer.xr.setReferenceSpaceType("local-floor");
    renderer.xr.addEventListener("sessionend", restore); // behind three's own, which gives the canvas back
    await renderer.xr.setSession(session);
    const rates = Array.from(session.supportedFrameRates ?? []).filter((rate) => rate <= RATE_MAX_HZ);
    if (rates.length > 0) await session.updateTargetFrameRate(Math.max(...rates)).catch(ignore);
    return new Headset(stage, session);
  }

  close(): void {
    void this.session.end().catch(ignore);
  }

  /** Head and hands in the room, where the right hand points (part RIGHT of `aim`), and both controllers. False: nothing is tracked now. */
  read(frame: XRFrame, room: Pose, aim: Pose, left: Fingers, right: Fingers): boolean {
    const space = this.stage.renderer.xr.getReferenceSpace();
    const viewer = space === null ? undefined : frame.getViewerPose(space);
    room.tracked = aim.tracked = 0;
    rest(left);
    rest(right);
    if (space === null || viewer === undefined) return false;
    write(viewer.transform, room, HEAD);
    room.tracked = TRACKED_HEAD;
    for (const source of this.session.inputSources) {
      if (source.handedness === "none") continue;
      const hand = source.handedness === "left" ? LEFT : RIGHT;
      const fingers = hand === LEFT ? left : right;
      const grip = source.gripSpace === undefined ? undefined : frame.getPose(source.gripSpace, space);
      if (grip !== undefined) {
        write(grip.transform, room, hand);
        room.tracked |= 1 << hand;
      }
      if (hand === RIGHT) {
        const ray = frame.getPose(source.targetRaySpace, space);
        if (ray !== undefined) {
          write(ray.transform, aim, RIGHT);
          aim.tracked = 1 << RIGHT;
        }
      }
      const { gamepad } = source;
      if (gamepad !== undefined) {
        fingers.trigger = gamepad.buttons[TRIGGER]?.value ?? 0;
        fingers.grip = gamepad.buttons[SQUEEZE]?.value ?? 0;
        fingers.stickX = gamepad.axes[STICK_X] ?? 0;
        fingers.stickY = gamepad.axes[STICK_Y] ?? 0;
      }
      const at = 2 * (hand - LEFT);
      room.grips[at] = fingers.grip;
      room.grips[at + 1] = fingers.trigger;
    }
    return true;
  }

  /** A short buzz in a hand. */
  buzz(hand: number, strength: number): void {
    for (const source of this.session.inputSources) {
      if (source.handedness !== (hand === LEFT ? "left" : "right")) continue;
      // Not every controller can, whatever the types say.
      const actuators: readonly (GamepadHapticActuator | undefined)[] | undefined = source.gamepad?.hapticActuators;
      void actuators?.[0]?.pulse(strength, 40);
    }
  }
}

function rest(fingers: Fingers): void {
  fingers.stickX = fingers.stickY = fingers.trigger = fingers.grip = 0;
}

function write({ position, orientation }: XRRigidTransform, pose: Pose, part: number): void {
  const { parts } = pose;
  const at = part * PART_STRIDE;
  parts[at] = position.x;
  parts[at + 1] = position.y;
  parts[at + 2] = position.z;
  parts[at + 3] = orientation.x;
  parts[at + 4] = orientation.y;
  parts[at + 5] = orientation.z;
  parts[at + 6] = orientation.w;
}

function ignore(): void {
  // The headset goes on as it is.
}
