import { describe, expect, it } from "vitest";

import { Predictor } from "../src/net/predict";
import type { Own } from "../src/protocol/frames";
import type { WireCommand } from "../src/protocol/messages";
import { Ground, walkStep, type Walker } from "../src/walk";

const RATE = 20;
const STEPS = 3;
const EAST: WireCommand = { moveX: 127, moveZ: 30, yaw: 0, buttons: 1, steps: STEPS };
const START: Walker = { x: 0, y: 0, z: 0, vx: 0, vy: 0, vz: 0, onGround: true };

function wall(): Ground {
  const ground = new Ground(-50, -50, 50, 50);
  const ring = [[2, -4], [10, -4], [10, 4], [2, 4]] as const; // prettier-ignore
  ground.add(1, 0, 12, [ring]);
  return ground;
}

/** The server's word on a body, rounded as it travels. */
function own(seq: number, walker: Walker, steps = 0): Own {
  const v = (speed: number) => Math.round((speed * 2048) / RATE);
  return {
    ...{ seq, steps, stampMs: 0, holdMs: 0, flags: walker.onGround ? 1 : 0 },
    p: [Math.round(walker.x * 128), Math.round(walker.y * 128), Math.round(walker.z * 128)],
    v: [v(walker.vx), v(walker.vy), v(walker.vz)],
  };
}

function served(ground: Ground, walker: Walker, command: WireCommand, steps = command.steps): Walker {
  for (let i = 0; i < steps; i++) walker = walkStep(ground, walker, command, 1 / (RATE * STEPS));
  return walker;
}

describe("prediction", () => {
  it("is never corrected while scraping along a wall, with words that come five ticks late and between steps", () => {
    const ground = wall();
    const predictor = new Predictor(ground, RATE, STEPS);
    predictor.decided(own(0, START), 0);
    let server = START;
    const history: Walker[] = [START];
    for (let tick = 1; tick <= 60; tick++) {
      expect(predictor.command(EAST, tick * 50)).toBe(tick);
      server = served(ground, server, EAST);
      history.push(server);
      const late = tick - 5;
      const base = history[late];
      if (base === undefined) continue;
      const steps = tick % STEPS;
      expect(predictor.decided(own(late, served(ground, base, EAST, steps), steps), tick * 50)).toBe(0);
    }
    expect(predictor.now).toEqual(server);
    expect(predictor.unacknowledged).toBe(5);
    expect(predictor.corrections).toBe(0);
  });

  it("takes the server's state when it disagrees, walks the rest again, and shows no jump", () => {
    const ground = new Ground(-50, -50, 50, 50);
    const predictor = new Predictor(ground, RATE, STEPS);
    predictor.decided(own(0, START), 0);
    for (let tick = 1; tick <= 4; tick++) predictor.command(EAST, tick * 50);
    const before = predictor.shown(210);
    const pushed: Walker = { ...served(ground, START, EAST), z: 1 };
    const corrected = predictor.decided(own(1, pushed), 210);
    expect(corrected).toBeGreaterThan(0.9);
    expect(predictor.correctionMaxM).toBe(corrected);
    const after = predictor.shown(210);
    for (const axis of [0, 1, 2] as const) expect(after?.[axis]).toBeCloseTo(before?.[axis] ?? NaN, 6);
    predictor.fade(1);
    expect(predictor.shown(400)?.[2]).toBeCloseTo(predictor.now?.z ?? NaN, 3);
  });

  it("after a new connection takes the server's word as it is, and its numbers go on", () => {
    const ground = new Ground(-50, -50, 50, 50);
    const predictor = new Predictor(ground, RATE, STEPS);
    predictor.decided(own(40, START), 0);
    expect(predictor.command(EAST, 0)).toBe(41);
    predictor.reconnected();
    predictor.decided(own(40, START), 100);
    expect(predictor.now).toEqual(START);
    expect(predictor.command(EAST, 150)).toBe(42);
  });

  it("shows the body along the steps of its command, not in leaps", () => {
    const predictor = new Predictor(new Ground(-50, -50, 50, 50), RATE, STEPS);
    predictor.decided(own(0, START), 0);
    for (let tick = 0; tick < 10; tick++) predictor.command(EAST, tick * 50);
    const xs = Array.from({ length: 11 }, (_, i) => predictor.shown(450 + 5 * i)?.[0] ?? NaN);
    const leaps = xs.slice(1).map((x, i) => x - (xs[i] ?? NaN));
    for (const leap of leaps) expect(leap).toBeCloseTo(6 * 0.005 * (127 / Math.hypot(127, 30)), 3);
  });
});
