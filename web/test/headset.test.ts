import { describe, expect, it } from "vitest";

import { newPose, RIGHT } from "../src/protocol/poses";
import { Ground } from "../src/walk";
import { Entities } from "../src/world/entities";
import { HeldThings } from "../src/world/hands";
import { Arc, canStand } from "../src/xr/arc";
import { Controls, newFingers, TURN_RADIANS } from "../src/xr/controls";
import { Rig } from "../src/xr/rig";

const S = 1 / 72;

/** The head's place in the world for a head at (x, z) in the room. */
function head(rig: Rig, x: number, z: number): [number, number] {
  const [room, out] = [newPose(), newPose()];
  room.parts.set([x, 1.6, z]);
  rig.carry(room, out);
  return [out.parts[0] ?? NaN, out.parts[2] ?? NaN];
}

function placed(): Rig {
  const rig = new Rig();
  rig.update(S, 5, 0, -3, 0.2, 0.1, false);
  return rig;
}

describe("the room in the world", () => {
  it("begins with the head above the body, and a turn is about the head", () => {
    const rig = placed();
    const [x, z] = head(rig, 0.2, 0.1);
    expect([x, z]).toEqual([expect.closeTo(5, 5), expect.closeTo(-3, 5)]);
    rig.turn(Math.PI / 2, 0.2, 0.1);
    const turned = head(rig, 0.2, 0.1);
    expect(turned[0]).toBeCloseTo(x, 5);
    expect(turned[1]).toBeCloseTo(z, 5);
    // Half a metre ahead (−Z) in the room is half a metre to the left (−X) in the world.
    expect(head(rig, 0.2, -0.4)[0]).toBeCloseTo(4.5, 5);
  });

  it("carries rotations with it", () => {
    const rig = placed();
    rig.turn(Math.PI / 2, 0, 0);
    const [room, out] = [newPose(), newPose()];
    rig.carry(room, out);
    expect([...out.parts.subarray(3, 7)]).toEqual([
      0,
      expect.closeTo(Math.SQRT1_2, 6),
      0,
      expect.closeTo(Math.SQRT1_2, 6),
    ]);
  });

  it("moves with the body while the person steers, and not when somebody pushes it", () => {
    const rig = placed();
    rig.update(S, 5.05, 0, -3, 0.2, 0.1, true);
    expect(rig.x + 0.2).toBeCloseTo(5.05, 5);
    rig.update(S, 5.05, 0, -3, 0.2, 0.1, false);
    const before = rig.x;
    rig.update(S, 5.25, 0, -3, 0.2, 0.1, false);
    rig.update(S, 5.25, 0, -3, 0.2, 0.1, false);
    expect(rig.x).toBe(before);
    expect(rig.apartM).toBeCloseTo(0.2, 5);
    expect(rig.fade).toBe(0);
  });

  it("rides along with what the person sits on", () => {
    const rig = placed();
    rig.isRiding = true;
    rig.update(S, 5, 0.5, -3, 0.2, 0.1, false);
    rig.update(S, 5.1, 0.5, -2.9, 0.2, 0.1, false);
    expect(head(rig, 0.2, 0.1)[0]).toBeCloseTo(5.1, 5);
    expect(rig.y).toBe(0.5);
  });

  it("lets the body go after a head that walks in the room, until it is near", () => {
    const rig = placed();
    rig.update(S, 5, 0, -3, 0.4, 0.1, false);
    expect([rig.afterX, rig.afterZ]).toEqual([0, 0]);
    rig.update(S, 5, 0, -3, 0.7, 0.1, false);
    expect(rig.afterX).toBeCloseTo(1, 5);
    expect(rig.afterZ).toBeCloseTo(0, 5);
    rig.update(S, 5.3, 0, -3, 0.7, 0.1, false);
    expect(rig.afterX).toBeCloseTo(0.4, 5);
    rig.update(S, 5.45, 0, -3, 0.7, 0.1, false);
    expect(rig.afterX).toBe(0);
  });

  it("goes to a body that is elsewhere in the dark only", () => {
    const rig = placed();
    const before = rig.x;
    let steps = 0;
    for (; rig.x === before && steps < 100; steps++) {
      expect(rig.fade).toBeLessThan(1);
      rig.update(S, 8, 0, -3, 0.2, 0.1, false);
      if (steps > 0) expect(rig.afterX).toBe(0);
    }
    expect(steps).toBeGreaterThan(8);
    expect(rig.fade).toBe(1);
    expect(head(rig, 0.2, 0.1)[0]).toBeCloseTo(8, 5);
    for (let i = 0; i < 20; i++) rig.update(S, 8, 0, -3, 0.2, 0.1, false);
    expect(rig.fade).toBe(0);
  });

  it("waits in the dark for a teleport, and lets one see again if it is refused", () => {
    const rig = placed();
    rig.asked();
    for (let i = 0; i < 30; i++) rig.update(S, 5, 0, -3, 0.2, 0.1, false);
    expect(rig.fade).toBe(1);
    rig.answered(9, -3);
    for (let i = 0; i < 5; i++) {
      rig.update(S, 5 + i, 0, -3, 0.2, 0.1, false); // the body slides there
      expect([rig.afterX, rig.afterZ]).toEqual([0, 0]); // and does not turn back for the head
    }
    for (let i = 0; i < 20; i++) rig.update(S, 9, 0, -3, 0.2, 0.1, false);
    expect(rig.fade).toBe(0);
    expect(head(rig, 0.2, 0.1)[0]).toBeCloseTo(9, 5);
    rig.asked();
    rig.update(S, 9, 0, -3, 0.2, 0.1, false);
    rig.answered(null, null);
    const before = rig.x;
    for (let i = 0; i < 20; i++) rig.update(S, 9, 0, -3, 0.2, 0.1, false);
    expect([rig.fade, rig.x]).toEqual([0, before]);
  });
});

describe("controls", () => {
  it("turn once for each push of the right stick", () => {
    const controls = new Controls();
    const [left, right] = [newFingers(), newFingers()];
    const turns = [0, 0.5, 0.8, 0.9, 0.6, 0.9, 0.2, -0.8, 0].map((x) => {
      right.stickX = x;
      controls.read(left, right);
      return controls.turn;
    });
    expect(turns).toEqual([0, 0, -TURN_RADIANS, 0, 0, 0, 0, TURN_RADIANS, 0]);
  });

  it("point while the stick is ahead, go when it is let go, and do not turn meanwhile", () => {
    const controls = new Controls();
    const [left, right] = [newFingers(), newFingers()];
    const seen = [
      [0, -0.9],
      [0.7, -0.7],
      [0.9, 0],
      [0.1, 0],
      [0, 0],
    ].map(([x = 0, y = 0]) => {
      right.stickX = x;
      right.stickY = y;
      controls.read(left, right);
      return [controls.isAiming, controls.goes, controls.turn];
    });
    expect(seen).toEqual([
      ...[
        [true, false, 0],
        [true, false, 0],
        [true, false, 0],
        [false, true, 0],
        [false, false, 0],
      ],
    ]);
  });

  it("take, let go and press once for each motion of a finger", () => {
    const controls = new Controls();
    const [left, right] = [newFingers(), newFingers()];
    const seen = [0.3, 0.7, 0.5, 0.7, 0.1, 0.1].map((value) => {
      right.grip = left.trigger = value;
      controls.read(left, right);
      return `${controls.right.took ? "took" : ""}${controls.right.letGo ? "let go" : ""}${controls.left.pressed ? " pressed" : ""}`;
    });
    expect(seen).toEqual(["", "took pressed", "", "", "let go", ""]);
  });

  it("walk beyond a dead middle, at most at full speed", () => {
    const controls = new Controls();
    const left = { ...newFingers(), stickX: 0.1, stickY: 0.05 };
    controls.read(left, newFingers());
    expect(controls.isWalking).toBe(false);
    controls.read({ ...left, stickX: 0.8, stickY: -0.8 }, newFingers());
    expect(Math.hypot(controls.walkX, controls.walkZ)).toBeCloseTo(1, 5);
    expect(controls.walkX).toBeCloseTo(-controls.walkZ, 9);
  });
});

describe("the arc", () => {
  const ground = new Ground(-50, -50, 50, 50);
  // A house from (3, -8) to (8, -4), and a roof that one can walk under.
  ground.add(1, 0, 6, [
    [
      [3, -8],
      [8, -8],
      [8, -4],
      [3, -4],
    ],
  ]);
  ground.add(2, 3, 4, [
    [
      [-8, -8],
      [-3, -8],
      [-3, -4],
      [-8, -4],
    ],
  ]);

  it("ends where a thrown thing meets the ground", () => {
    const arc = new Arc();
    arc.cast(ground, 0, 1.4, 0, 0, 0, -1);
    expect(arc.isOpen).toBe(true);
    expect(arc.x).toBe(0);
    expect(-arc.z).toBeGreaterThan(6.5 * Math.sqrt((2 * 1.4) / 9.81) - 0.01);
    expect(-arc.z).toBeLessThan(6.5 * Math.sqrt((2 * 1.4) / 9.81) + 0.3);
    expect(arc.points[1]).toBeCloseTo(1.4, 6);
  });

  it("does not go through walls, and nobody is to stand within or beside one", () => {
    const arc = new Arc();
    arc.cast(ground, 5, 1.4, -2, 0, 0.3, -0.95);
    expect(arc.isOpen).toBe(false);
    expect(arc.z).toBeGreaterThan(-4.5);
    expect(canStand(ground, 5, -6)).toBe(false);
    expect(canStand(ground, 5, -3.8)).toBe(false);
    expect(canStand(ground, 5, -3.6)).toBe(true);
    expect(canStand(ground, -5, -6)).toBe(true);
    expect(canStand(ground, 60, 0)).toBe(false);
  });

  it("of a hand that points at the sky comes down again", () => {
    const arc = new Arc();
    arc.cast(ground, 0, 1.4, 0, 0, 1, 0);
    expect([arc.isOpen, arc.x, arc.z]).toEqual([true, 0, 0]);
    expect(Math.max(...arc.points)).toBeGreaterThan(3);
  });
});

describe("held things", () => {
  const nobody = new Entities();

  it("are in the hand at once, and go back when the world refuses", () => {
    const held = new HeldThings();
    expect(held.grab(9n, RIGHT)).toEqual({ name: "grab", payload: { thing: 9n, hand: "right" } });
    expect(held.holds(RIGHT)).toBe(9n);
    held.answered(9n, RIGHT, false, null);
    expect(held.holds(RIGHT)).toBeNull();
    expect(held.release(RIGHT, nobody, 1n)).toBeNull();
  });

  it("wait for an event where a border lies between", () => {
    for (const [says, stays] of [
      [true, 9n],
      [false, null],
    ] as const) {
      const held = new HeldThings();
      held.grab(9n, RIGHT);
      held.answered(9n, RIGHT, true, { thing: 9, held: null });
      held.heard("grab", { thing: 8, held: false });
      held.heard("grab", { thing: 9, held: says });
      expect(held.holds(RIGHT)).toBe(stays);
    }
  });

  it("go from one hand into the other, and are let go once", () => {
    const held = new HeldThings();
    held.grab(9n, 1);
    held.grab(9n, RIGHT);
    expect(held.holds(1)).toBeNull();
    expect(held.release(RIGHT, nobody, 1n)).toEqual({ name: "release", payload: { hand: "right" } });
    expect(held.release(RIGHT, nobody, 1n)).toBeNull();
  });

  it("are given up when the world has shown for long that they are elsewhere", () => {
    const held = new HeldThings();
    held.grab(9n, RIGHT);
    held.check(nobody, 1n, 2);
    expect(held.holds(RIGHT)).toBe(9n);
    held.check(nobody, 1n, 2);
    expect(held.holds(RIGHT)).toBeNull();
  });
});
