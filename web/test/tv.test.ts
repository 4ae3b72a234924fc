import { describe, expect, it } from "vitest";

import type { Camera, Channel, Keyframe } from "../src/protocol/channels";
import { ProtocolError } from "../src/protocol/codes";
import type { Frame, Structure } from "../src/protocol/frames";
import { decode, encodeWatch, type ServerMessage } from "../src/protocol/messages";
import { keyOf } from "../src/tv/keys";
import { Remote, type Entry } from "../src/tv/remote";
import { Television } from "../src/tv/television";
import { hex, unhex, vectors, type FrameVectors } from "./vectors";

const { messages } = vectors("frames.json") as FrameVectors;
const all = (kind: string) => messages.filter((m) => m.kind === kind).map((m) => decode(unhex(m.hex)));

describe("messages of channels, from the vectors", () => {
  it("channel, keyframe, camera", () => {
    expect(all("Channel")).toEqual([
      {
        ...{ type: "channel", code: 0, name: "square", stream: 2, title: "The square", rateHz: 5 },
        ...{ behindMs: 20_400, text: "" },
      },
      expect.objectContaining({ code: 1, name: "nothing", text: "there is no such channel" }),
    ]);
    expect(all("Keyframe")).toEqual([
      { type: "keyframe", sseq: 2 ** 32 - 3, stream: 2, frame: 70_000, tick: 2 ** 33, parts: 3 },
    ]);
    expect(all("Camera")).toEqual([
      {
        ...{ type: "camera", sseq: 2 ** 32 - 2, stream: 2, tick: 2 ** 33, moveMs: 0, entity: null },
        ...{ eye: [-1280, 1024, 70_000], look: [0, 154, -5], text: "12 people" },
      },
      expect.objectContaining({ stream: 3, moveMs: 2000, entity: 2n ** 63n + 1n, text: "Åsa" }),
    ]);
  });
  it("watch has the vectors' bytes", () => {
    const wanted = messages.filter((m) => m.kind === "Watch").map((m) => m.hex);
    expect([hex(encodeWatch(null, 0)), hex(encodeWatch("square", 60))]).toEqual(wanted);
  });
});

const welcome = decode(unhex(messages.find((m) => m.kind === "Welcome")?.hex ?? ""));
const channel: Channel = {
  ...{ type: "channel", code: 0, name: "a", stream: 2, title: "A", rateHz: 5, behindMs: 0, text: "" },
};
const keyframe: Keyframe = { type: "keyframe", sseq: 10, stream: 2, frame: 50, tick: 1000, parts: 2 };
const camera: Camera = {
  ...{ type: "camera", sseq: 12, stream: 2, tick: 1000, moveMs: 0, entity: null },
  ...{ eye: [0, 1280, 1280], look: [0, 0, 0], text: "on" },
};
const structure = (sseq: number, ids: bigint[] = []): Structure => ({
  ...{ type: "structure", sseq, tick: 1000, frame: 50, origin: [256, 0, 0], enterId: new BigUint64Array(ids) },
  ...{ enterNumber: new Uint16Array(ids.map((_, i) => i)), enterKind: new Uint16Array(ids.length) },
  ...{ enterP: new Int16Array(3 * ids.length), enterV: new Int16Array(3 * ids.length) },
  ...{
    enterAge: new Uint8Array(ids.length),
    enterYaw: new Uint8Array(ids.length),
    enterBlobs: ids.map(() => unhex("80")),
  },
  ...{ leaveNumber: new Uint16Array(), stateNumber: new Uint16Array(), stateBlobs: [] },
});
const frame = (number: number, tick: number, sseq = 12): Frame => ({
  ...{ type: "frame", stream: 2, frame: number, tick, sseq, own: null, origin: [0, 0, 0] },
  ...{ deltaNumber: new Uint16Array(), deltaD: new Int8Array(), deltaDv: new Int8Array(), deltaYaw: new Uint8Array() },
  ...{ fullNumber: new Uint16Array(), fullP: new Int16Array(), fullV: new Int16Array() },
  ...{ fullAge: new Uint8Array(), fullYaw: new Uint8Array() },
});

function tuned(...more: ServerMessage[]): Television {
  const tv = new Television();
  if (welcome?.type !== "welcome") throw new Error("vectors");
  for (const message of [welcome, channel, keyframe, structure(11, [7n]), camera, ...more]) tv.apply(message, 0);
  return tv;
}

describe("a television", () => {
  it("has applied a keyframe when it is whole, and then each frame", () => {
    const tv = new Television();
    if (welcome?.type !== "welcome") throw new Error("vectors");
    for (const message of [welcome, channel, keyframe, structure(11, [7n])]) tv.apply(message, 0);
    expect(tv.applied).toBe(0);
    expect(() => {
      tv.apply(frame(51, 1004, 11), 0);
    }).toThrow(ProtocolError);
    tv.apply(camera, 0);
    expect(tv.applied).toBe(50);
    tv.apply(frame(51, 1004), 200);
    expect(tv.applied).toBe(51);
    expect(() => {
      tv.apply(frame(53, 1012), 400);
    }).toThrow("follows 51");
  });

  it("begins anew with each keyframe, whatever the numbers were", () => {
    const tv = tuned(frame(51, 1004), { ...keyframe, sseq: 5, frame: 20, tick: 900, parts: 0 });
    expect([tv.applied, tv.entities.count]).toEqual([20, 0]);
    tv.apply(frame(21, 904, 5), 0);
    expect(tv.applied).toBe(21);
    expect(() => {
      tv.apply({ ...keyframe, stream: 3 }, 0);
    }).toThrow("not watched");
  });

  it("counts the session's own structure beside the channel's", () => {
    const notice = { type: "notice", sseq: 1, code: 1, text: "" } as const;
    const tv = tuned(notice, frame(51, 1004), { ...notice, sseq: 2 });
    expect(() => {
      tv.apply({ ...notice, sseq: 4 }, 0);
    }).toThrow("follows 2");
  });

  it("keeps what it watches when another channel is refused, and forgets it when told so", () => {
    const tv = tuned({ ...channel, code: 1, name: "b" });
    expect(tv.channel?.name).toBe("a");
    tv.apply({ ...channel, code: 3 }, 0);
    expect([tv.channel, tv.applied]).toEqual([null, 0]);
    tv.apply(frame(51, 1004), 0); // was under way
    expect(tv.applied).toBe(0);
  });

  it("looks from where the camera is: fixed, tied to somebody, and on the way", () => {
    const tv = tuned();
    const six: [number, number, number, number, number, number] = [0, 0, 0, 0, 0, 0];
    expect(tv.pose(1000, six)).toBe(true);
    expect(six).toEqual([0, 10, 10, 0, 0, 0]);
    tv.apply({ ...camera, sseq: 13, entity: 7n, moveMs: 2000 }, 0);
    tv.advance(0);
    tv.pose(1000, six);
    expect(six).toEqual([0, 10, 10, 0, 0, 0]);
    tv.pose(1020, six);
    expect(six).toEqual([1, 10, 10, 1, 0, 0]);
    tv.pose(1100, six);
    expect(six).toEqual([2, 10, 10, 2, 0, 0]);
  });

  it("is shown at a cut at once, and eases into a move", () => {
    const tv = tuned();
    tv.advance(0);
    expect(tv.view).toEqual([0, 10, 10, 0, 0, 0]);
    tv.apply({ ...camera, sseq: 13, eye: [0, 1280, 0] }, 0);
    tv.advance(16);
    expect(tv.view).toEqual([0, 10, 0, 0, 0, 0]);
    tv.apply({ ...camera, sseq: 14, eye: [12_800, 1280, 0], moveMs: 1000 }, 0);
    let last = 0;
    for (let now = 32; now < 3000; now += 16) {
      tv.advance(now);
      const x = tv.view?.[0] ?? NaN;
      expect(x - last).toBeLessThan(2);
      expect(x).toBeGreaterThanOrEqual(last);
      last = x;
    }
    expect(last).toBeCloseTo(100, 0);
  });
});

const GUIDE: Entry[] = ["a", "b", "c"].map((name) => ({ name, title: name.toUpperCase(), on: "", viewers: 0 }));

function control(name: string | null = "a"): Remote {
  const remote = new Remote(name);
  remote.learn(GUIDE);
  return remote;
}

describe("a remote control", () => {
  it("zaps with up and down, and asks once the keys rest", () => {
    const remote = control();
    remote.press("down", 0);
    remote.press("down", 100);
    expect(remote.current?.name).toBe("c");
    expect(remote.due(400)).toBeNull();
    expect(remote.due(450)).toEqual({ name: "c", behindS: 0 });
    expect(remote.due(900)).toBeNull();
    remote.press("down", 1000);
    expect(remote.due(1350)).toEqual({ name: "a", behindS: 0 });
  });

  it("chooses in the guide, from the channel that is on", () => {
    const remote = control("b");
    remote.press("ok", 0);
    expect([remote.isOpen, remote.cursor]).toEqual([true, 1]);
    remote.press("up", 0);
    remote.press("up", 0);
    expect(remote.due(5000)).toBeNull();
    remote.press("ok", 6000);
    expect(remote.isOpen).toBe(false);
    expect(remote.due(6000)).toEqual({ name: "c", behindS: 0 });
    remote.press("ok", 7000);
    remote.press("back", 7000);
    expect([remote.isOpen, remote.due(9000)]).toEqual([false, null]);
  });

  it("goes back to a minute and forward to the present", () => {
    const remote = control();
    for (let i = 0; i < 9; i++) remote.press("left", i);
    expect(remote.due(1000)).toEqual({ name: "a", behindS: 60 });
    remote.watching("a", 58_200); // as near as the server could
    expect(remote.behindS).toBe(58);
    remote.press("right", 2000);
    expect(remote.due(3000)).toEqual({ name: "a", behindS: 48 });
    remote.watching("a", 12_000);
    remote.press("right", 4000);
    expect(remote.due(5000)).toEqual({ name: "a", behindS: 0 });
    remote.watching("a", 12_000);
    remote.press("back", 6000);
    expect(remote.due(6000)).toEqual({ name: "a", behindS: 0 });
  });

  it("keeps its row when the guide changes, and lives without a guide", () => {
    const remote = control("c");
    remote.press("ok", 0);
    remote.learn([...GUIDE].reverse());
    expect(remote.guide[remote.cursor]?.name).toBe("c");
    remote.learn([]);
    for (const key of ["up", "down", "ok", "ok", "down", "left", "back"] as const) remote.press(key, 0);
    expect(remote.wanted.name).toBe("c");
  });

  it("has keys with and without names", () => {
    expect(keyOf("ArrowUp", 38)).toBe("up");
    expect(keyOf("Unidentified", 461)).toBe("back");
    expect(keyOf("x", 88)).toBeNull();
  });
});
