import { describe, expect, it } from "vitest";

import { History, latest, PLOTS } from "../src/console/history";
import { ago, inWords, rate, size } from "../src/console/format";
import { decodeCells, heatColour, heatPart, ownerColour } from "../src/console/heat";
import { beside, levelOf, squareAt, squareOf } from "../src/console/quadtree";
import { Viewport } from "../src/console/viewport";

describe("regions by their numbers", () => {
  it("knows level and place, as cluster/regions.py does", () => {
    expect([1, 4, 7, 16, 31, 1 << 24].map(levelOf)).toEqual([0, 1, 1, 2, 2, 12]);
    expect(squareOf(1, 256)).toEqual({ x: -128, z: -128, side: 256 });
    // Bit 0 of a quarter is the half along X, bit 1 the half along Z.
    expect(squareOf(5, 256)).toEqual({ x: 0, z: -128, side: 128 });
    expect(squareOf(6, 256)).toEqual({ x: -128, z: 0, side: 128 });
    expect(squareOf(31, 256)).toEqual({ x: 64, z: 64, side: 64 });
  });

  it("finds the region at a place and the one beside it, of whatever size", () => {
    const regions = [4, 5, 6, 28, 29, 30, 31];
    const squares = regions.map((region) => squareOf(region, 256));
    expect(regions[squareAt(squares, 10, 10)]).toBe(28);
    expect(regions[squareAt(squares, 127, 127)]).toBe(31);
    expect(squareAt(squares, 128, 0)).toBe(-1);
    expect(regions[beside(squares, regions.indexOf(28), 1, 0)]).toBe(29);
    expect(regions[beside(squares, regions.indexOf(28), 0, -1)]).toBe(5);
    expect(regions[beside(squares, regions.indexOf(4), -1, 0)]).toBe(4);
    expect(beside(squares, -1, 1, 0)).toBe(0);
    expect(beside([], -1, 1, 0)).toBe(-1);
  });
});

describe("the window", () => {
  it("zooms about a point, pans, and stays within the world", () => {
    const window = new Viewport(256);
    expect(window.isWhole).toBe(true);
    const at = (): number => window.x + 0.25 * window.side;
    const before = at();
    window.zoom(0.5, 0.25, 0.5);
    expect(window.side).toBe(128);
    expect(at()).toBeCloseTo(before);
    window.pan(10, 10);
    expect([window.x, window.z]).toEqual([-128, -128]);
    window.show({ x: 64, z: 64, side: 64 });
    expect(window.at(96, 96)[0]).toBeLessThanOrEqual(1);
    window.zoom(0.0001, 0.5, 0.5);
    expect(window.side).toBe(16);
    window.zoom(1e9, 0.5, 0.5);
    expect(window.isWhole).toBe(true);
    window.setWorld(512);
    expect(window.side).toBe(512);
  });
});

describe("heat", () => {
  it("reads cells as the server writes them", () => {
    expect([...decodeCells("AQAAAv//")]).toEqual([1, 512, 65_535]);
  });

  it("is brighter the more there is", () => {
    const brightness = (part: number): number => {
      const [r = 0, g = 0, b = 0] = heatColour(part).match(/\d+/g)?.map(Number) ?? [];
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const steps = [0, 0.2, 0.4, 0.6, 0.8, 1].map(brightness);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
    expect(heatPart(0, 0)).toBe(0);
    expect(heatPart(25, 100)).toBe(0.5);
  });

  it("gives a hundred shards colours of their own", () => {
    const colours = Array.from({ length: 100 }, (_, k) => ownerColour(k));
    expect(new Set(colours).size).toBe(100);
    expect(ownerColour(-1)).not.toBe(ownerColour(0));
  });
});

describe("the last hour", () => {
  const samples = (first: number, values: readonly number[]) => ({
    ...{ first, next: first + values.length, every_s: 5 },
    ...{ at_s: values.map((_, i) => 100 + (first + i) * 5), series: { sessions: values } },
  });

  it("puts answers together, keeps an hour, and begins anew with another gateway's life", () => {
    const history = new History();
    history.add(samples(0, [1, 2]));
    history.add(samples(2, [3]));
    expect(history.series.get("sessions")).toEqual([1, 2, 3]);
    history.add(samples(3, Array<number>(800).fill(7)));
    expect(history.at).toHaveLength(720);
    history.add(samples(0, [9]));
    expect(history.series.get("sessions")).toEqual([9]);
    const [plot] = PLOTS;
    if (plot === undefined) throw new Error("no plot");
    expect(latest(history, plot)).toEqual({ now: "9", top: "10" });
  });
});

describe("figures in words", () => {
  it("says amounts, times and acts", () => {
    expect([0, 999, 1000, 12_345, 2_500_000, 3e9].map(rate)).toEqual([
      ...["0 B/s", "999 B/s", "1.0 kB/s", "12 kB/s", "2.5 MB/s", "3.0 GB/s"],
    ]);
    expect(size(2048)).toBe("2.0 kB");
    expect([5, 65, 7300].map(ago)).toEqual(["5 s ago", "1 min ago", "2 h ago"]);
    expect(inWords({ do: "move", region: 16, to: "shard-1" })).toBe("move region 16, to shard-1");
    expect(inWords({ do: "kick", session: "7", reason: "" })).toBe("kick session 7");
  });
});
