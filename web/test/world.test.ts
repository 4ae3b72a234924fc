import { describe, expect, it } from "vitest";

import { ServerClock } from "../src/net/clock";
import { decode } from "../src/protocol/messages";
import { toLatLon } from "../src/world/anchor";
import { parseLine } from "../src/world/chatline";
import { Entities } from "../src/world/entities";
import { People } from "../src/world/people";
import { unhex, vectors, type FrameVectors } from "./vectors";

const steps = (vectors("frames.json") as FrameVectors).stream.steps.map((step) => decode(unhex(step.hex)));

describe("others", () => {
  it("go on without a jump when their records change, and end up where the standard says", () => {
    const [enter, , delta] = steps;
    if (enter?.type !== "structure" || delta?.type !== "frame") throw new Error("vectors");
    const entities = new Entities();
    entities.begin(null);
    entities.advance(101, 0);
    entities.structure(enter);
    entities.frame({ ...delta, frame: 1, deltaNumber: new Uint16Array(), tick: 100 });
    entities.advance(101, 0.05);
    const [first] = entities.all;
    const before = { ...first };
    entities.frame(delta);
    entities.advance(101, 0);
    expect(first?.x).toBeCloseTo(before.x ?? NaN, 9);
    expect(first?.z).toBeCloseTo(before.z ?? NaN, 9);
    entities.advance(101, 5);
    expect(first?.x).toBeCloseTo(entities.records.shown(0, 101)[0], 6);
  });

  it("keep their shown places over a new stream", () => {
    const [enter] = steps;
    if (enter?.type !== "structure") throw new Error("vectors");
    const entities = new Entities();
    entities.begin(null);
    entities.advance(100, 0);
    entities.structure(enter);
    entities.advance(100, 0.05);
    const before = [...entities.all].map(({ id, x, z }) => ({ id, x, z }));
    entities.begin(null);
    expect(entities.count).toBe(0);
    entities.structure({ ...enter, origin: [-1280 + 64, 0, 64000] });
    expect([...entities.all].map(({ id, x, z }) => ({ id, x, z }))).toEqual(before);
  });
});

describe("the clock", () => {
  it("follows the fastest arrivals through jitter, forwards only", () => {
    const clock = new ServerClock(20);
    let last = 0;
    for (let i = 0; i < 400; i++) {
      const now = 1000 + i * 50 + (i % 7) * 6;
      clock.heard(500 + i, now);
      const shown = clock.shownTick(now);
      expect(shown).toBeGreaterThanOrEqual(last);
      if (i > 100) expect(Math.abs(shown - (500 + (now - 1000) / 50))).toBeLessThan(0.2);
      last = shown;
    }
  });
  it("measures the round trip, across the wrap of the stamp, and ignores nonsense", () => {
    const clock = new ServerClock(20);
    clock.echoed(1000, 20, 1100);
    expect(clock.rttMs).toBe(80);
    clock.echoed(2 ** 32 - 10, 5, 2 ** 32 + 45);
    expect(clock.rttMs).toBe(50);
    clock.echoed(5000, 0, 1100);
    expect(clock.rttMs).toBe(50);
  });
});

describe("what a person types", () => {
  const people = new People();
  people.apply({ type: "presence", sseq: 1, online: 2, joined: [[5n, "Aino Virtanen"], [6n, "Eero"]], left: [] }); // prettier-ignore
  it.each([
    ["hello", { scope: 0, text: "hello", to: null }],
    ["/near  psst", { scope: 1, text: "psst", to: null }],
    ["/w eero hi there", { scope: 2, text: "hi there", to: 6n }],
    ["/w Aino Virtanen hei", { scope: 2, text: "hei", to: 5n }],
    ["/w Nobody hi", { error: "Nobody here is called “Nobody”." }],
    ["/dance", { error: "There is no command /dance. Try /near, /all or /w NAME." }],
  ])("%s", (typed, wanted) => {
    expect(parseLine(typed, 0, people)).toEqual(wanted);
  });
});

it("a kilometre from the anchor is where WGS 84 says", () => {
  // pyproj (Geod, WGS 84) from 60.17 N 24.94 E: 1,000 m north ends at 60.1789754; 1,000 m east at 24.9580136.
  const [north] = toLatLon([60.17, 24.94, 0], 0, -1000);
  const [, east] = toLatLon([60.17, 24.94, 0], 1000, 0);
  expect(north).toBeCloseTo(60.1789754, 6);
  expect(east).toBeCloseTo(24.9580136, 6);
});
