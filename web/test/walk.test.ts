import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

import { Ground, walkStep, type Ring, type Walker } from "../src/walk";

interface Case {
  readonly name: string;
  readonly steps_per_s: number;
  readonly bounds_m: [number, number, number, number];
  readonly prisms: readonly { readonly bottom_m: number; readonly top_m: number; readonly rings: readonly Ring[] }[];
  readonly start: { readonly p: number[]; readonly v: number[]; readonly on_ground: number };
  /** move_x, move_z, buttons, steps. */
  readonly commands: readonly [number, number, number, number][];
  readonly states: readonly number[][];
}

const file = new URL("../../protocol/vectors/walk.json", import.meta.url);
const { cases } = JSON.parse(readFileSync(file, "utf8")) as { cases: readonly Case[] };

describe("walk vectors", () => {
  it.each(cases)("$name", (c) => {
    const ground = new Ground(...c.bounds_m);
    c.prisms.forEach((prism, key) => ground.add(key, prism.bottom_m, prism.top_m, prism.rings));
    const [x = 0, y = 0, z = 0] = c.start.p;
    const [vx = 0, vy = 0, vz = 0] = c.start.v;
    let walker: Walker = { x, y, z, vx, vy, vz, onGround: c.start.on_ground === 1 };
    const states: number[][] = [];
    for (const [moveX, moveZ, buttons, steps] of c.commands) {
      for (let step = 0; step < steps; step++) {
        walker = walkStep(ground, walker, { moveX, moveZ, buttons }, 1 / c.steps_per_s);
        states.push([walker.x, walker.y, walker.z, walker.vx, walker.vy, walker.vz, walker.onGround ? 1 : 0]);
      }
    }
    expect(states.length).toBe(c.states.length);
    states.forEach((state, i) => {
      state.forEach((value, j) => {
        // + 0: the sign of a zero is not told apart.
        if (value + 0 !== (c.states[i]?.[j] ?? NaN) + 0)
          expect.fail(`step ${i}, item ${j}: ${value} is not ${c.states[i]?.[j]}`);
      });
    });
  });
});
