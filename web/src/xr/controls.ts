/**
 * What a person does with two controllers, as wishes: walk, turn, point at a place to go, take, let go, press.
 *
 * Left stick: walk. Right stick: aside turns, forward points and goes there when it is let go. Squeeze takes and lets go, the trigger
 * presses. Levels have some play, so that a finger that trembles does nothing twice. Invariants: one wish for each motion of a finger;
 * nothing allocates. Not responsible for: reading controllers (headset.ts), what follows (vr.ts).
 */

export const TURN_RADIANS = Math.PI / 6;
const DEAD = 0.15;
const PUSHED = 0.7;
const CENTRED = 0.4;
const PRESSED = 0.6;
const RELEASED = 0.35;

/** One controller: stick −1 to 1 (y positive: towards the person), the others 0 to 1. */
export interface Fingers {
  stickX: number;
  stickY: number;
  trigger: number;
  grip: number;
}

export function newFingers(): Fingers {
  return { stickX: 0, stickY: 0, trigger: 0, grip: 0 };
}

/** Of one hand, in one frame. */
class Hand {
  took = false;
  letGo = false;
  pressed = false;
  private isGripped = false;
  private isTriggered = false;

  read(fingers: Fingers): void {
    this.took = this.letGo = this.pressed = false;
    if (!this.isGripped && fingers.grip > PRESSED) this.isGripped = this.took = true;
    else if (this.isGripped && fingers.grip < RELEASED) {
      this.isGripped = false;
      this.letGo = true;
    }
    if (!this.isTriggered && fingers.trigger > PRESSED) this.isTriggered = this.pressed = true;
    else if (this.isTriggered && fingers.trigger < RELEASED) this.isTriggered = false;
  }
}

export class Controls {
  readonly left = new Hand();
  readonly right = new Hand();
  /** Radians to turn by in this frame. */
  turn = 0;
  /** A place is being pointed at. */
  isAiming = false;
  /** The pointing ended in this frame: go there. */
  goes = false;
  /** The wished walk as seen by the person: x to the right, z backwards, length ≤ 1. */
  walkX = 0;
  walkZ = 0;
  private isTurned = false;

  read(left: Fingers, right: Fingers): void {
    this.left.read(left);
    this.right.read(right);
    this.turn = 0;
    this.goes = false;
    const { stickX: x, stickY: y } = right;
    if (this.isAiming) {
      if (Math.hypot(x, y) < CENTRED) {
        this.isAiming = false;
        this.goes = true;
      }
    } else if (!this.isTurned && y < -PUSHED && Math.abs(x) < Math.abs(y)) this.isAiming = true;
    else if (!this.isTurned && Math.abs(x) > PUSHED) {
      this.isTurned = true;
      this.turn = x > 0 ? -TURN_RADIANS : TURN_RADIANS;
    } else if (this.isTurned && Math.hypot(x, y) < CENTRED) this.isTurned = false;
    const push = Math.hypot(left.stickX, left.stickY);
    const scale = push > DEAD ? Math.min(1, (push - DEAD) / (1 - DEAD)) / push : 0;
    this.walkX = left.stickX * scale;
    this.walkZ = left.stickY * scale;
  }

  get isWalking(): boolean {
    return this.walkX !== 0 || this.walkZ !== 0;
  }
}
