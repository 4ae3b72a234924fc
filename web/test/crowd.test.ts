import { describe, expect, it } from "vitest";

import { ProtocolError } from "../src/protocol/codes";
import type { Crowd } from "../src/protocol/crowds";
import { decode } from "../src/protocol/messages";
import { FarCrowd, FIGURES_MAX } from "../src/world/crowd";
import { unhex, vectors } from "./vectors";

const { crowds } = vectors("frames.json") as {
  readonly crowds: readonly {
    readonly hex: string;
    readonly items: Readonly<
      Record<"stream" | "tick" | "side_m", number> & Record<"x" | "z" | "count" | "vx" | "vz", number[]>
    >;
  }[];
};

describe("crowd vectors", () => {
  it("decode to the items named", () => {
    expect(crowds.length).toBeGreaterThan(1);
    for (const { hex, items } of crowds) {
      const crowd = decode(unhex(hex));
      if (crowd?.type !== "crowd") throw new Error("vectors");
      expect(crowd).toMatchObject({ stream: items.stream, tick: items.tick, sideM: items.side_m });
      for (const name of ["x", "z", "count", "vx", "vz"] as const) expect([...crowd[name]]).toEqual(items[name]);
    }
  });

  it("truncation is refused", () => {
    const whole = unhex(crowds[0]?.hex ?? "");
    for (let i = 0; i < whole.length; i++) expect(() => decode(whole.slice(0, i))).toThrow(ProtocolError);
  });
});

function crowd(tick: number, ...cells: [x: number, z: number, count: number, vx: number, vz: number][]): Crowd {
  const column = (k: number) => cells.map((cell) => cell[k] ?? 0);
  return {
    ...{ type: "crowd", stream: 1, tick, sideM: 32, x: new Int16Array(column(0)), z: new Int16Array(column(1)) },
    ...{ count: new Uint16Array(column(2)), vx: new Int16Array(column(3)), vz: new Int16Array(column(4)) },
  };
}

describe("those who are counted", () => {
  const out = new Float32Array(2 * FIGURES_MAX);

  it("stand within their cells, as many as there are, the same ones each time", () => {
    const far = new FarCrowd();
    far.tell(crowd(10, [2, -1, 30, 0, 0], [-1, 0, 5, 0, 0]), 0, 0, 0);
    expect(far.total).toBe(35);
    expect(far.place(10, out)).toBe(35);
    const before = out.slice(0, 70);
    for (let i = 0; i < 35; i++) {
      const [x = 0, z = 0] = [out[2 * i], out[2 * i + 1]];
      const [cx, cz] = i < 30 ? [2, -1] : [-1, 0];
      expect(Math.floor(x / 32)).toBe(cx);
      expect(Math.floor(z / 32)).toBe(cz);
    }
    far.tell(crowd(30, [2, -1, 30, 0, 0], [-1, 0, 5, 0, 0]), 0, 0, 0);
    far.place(31, out);
    expect(out.slice(0, 70)).toEqual(before);
  });

  it("move as their cell does and stay within it", () => {
    const far = new FarCrowd();
    far.tell(crowd(0, [0, 0, 20, 307, 0]), 0, 0, 0); // 3 m/s at 20 ticks a second
    far.place(0, out);
    const before = out.slice(0, 40);
    far.place(20, out);
    for (let i = 0; i < 20; i++) {
      const moved = (out[2 * i] ?? 0) - (before[2 * i] ?? 0);
      expect(moved < 0 ? moved + 32 : moved).toBeCloseTo(3, 1);
      expect(out[2 * i + 1]).toBeCloseTo(before[2 * i + 1] ?? NaN, 4);
    }
  });

  it("are nowhere nearer than those who are told one by one", () => {
    const far = new FarCrowd();
    far.tell(crowd(0, [0, 0, 100, 0, 0]), 16, 16, 12);
    const count = far.place(0, out);
    expect(count).toBeGreaterThan(80);
    for (let i = 0; i < count; i++) {
      expect(Math.hypot((out[2 * i] ?? 0) - 16, (out[2 * i + 1] ?? 0) - 16)).toBeGreaterThanOrEqual(12);
    }
  });

  it("are at most so many figures, each cell its share; an older count changes nothing, an empty one ends them", () => {
    const far = new FarCrowd();
    far.tell(crowd(5, [0, 0, 60000, 0, 0], [1, 0, 60000, 0, 0]), 0, 0, 0);
    expect(far.place(5, out)).toBe(FIGURES_MAX);
    expect(out.subarray(0, 2 * FIGURES_MAX).filter((x, i) => i % 2 === 0 && x >= 32).length).toBe(FIGURES_MAX / 2);
    far.tell(crowd(4, [0, 0, 1, 0, 0]), 0, 0, 0);
    expect(far.total).toBe(120000);
    far.tell(crowd(6), 0, 0, 0);
    expect(far.place(6, out)).toBe(0);
  });
});
