import { describe, expect, it } from "vitest";

import { ProtocolError } from "../src/protocol/codes";
import type { Structure } from "../src/protocol/frames";
import { decode, encodePose } from "../src/protocol/messages";
import {
  newPose,
  packRotation,
  PART_STRIDE,
  readMid,
  readNear,
  unpackCoarse,
  unpackFine,
  writeSample,
  type Pose,
  type Poses,
} from "../src/protocol/poses";
import { PoseTracks } from "../src/world/poses";
import { PoseSayer } from "../src/xr/saying";
import { hex, unhex, vectors } from "./vectors";

interface Part {
  readonly p: number[];
  readonly q: number[];
}
interface Sample {
  readonly back_ms: number;
  readonly head: Part;
  readonly left: Part | null;
  readonly right: Part | null;
  readonly grip: number[][];
}
const { rotations, said, heard } = vectors("pose.json") as {
  readonly rotations: readonly Readonly<
    Record<"q" | "says" | "coarse_says", number[]> & Record<"fine" | "coarse", number>
  >[];
  readonly said: readonly { readonly stamp: number; readonly hex: string }[];
  readonly heard: readonly { readonly hex: string; readonly held: Readonly<Record<string, Sample[]>> }[];
};

const close = (a: ArrayLike<number>, b: readonly number[]) => {
  b.forEach((value, i) => {
    expect(a[i]).toBeCloseTo(value, 6);
  });
};

function poses(data: Uint8Array): Poses {
  const message = decode(data);
  if (message?.type !== "poses") throw new Error("vectors");
  return message;
}

describe("pose vectors", () => {
  it("rotations are packed and unpacked as they say", () => {
    const out = new Float32Array(4);
    for (const vector of rotations) {
      expect(packRotation(vector.q, 0)).toBe(vector.fine);
      unpackFine(vector.fine, out, 0);
      close(out, vector.says);
      unpackCoarse(vector.coarse, out, 0);
      close(out, vector.coarse_says);
    }
  });

  it("any bits of a rotation are a unit quaternion", () => {
    const out = new Float32Array(4);
    for (const bits of [0, 0xffffffff, 0x3fffffff, 0x80000000, 0x12345678, 0x3ff003ff]) {
      unpackFine(bits, out, 0);
      expect(Math.hypot(...out)).toBeCloseTo(1, 5);
      unpackCoarse(bits & 0x1ffff, out, 0);
      expect(Math.hypot(...out)).toBeCloseTo(1, 5);
    }
  });

  it("what is said has the vectors' bytes", () => {
    const [q4, q5] = [rotations[4]?.q ?? [], rotations[5]?.q ?? []];
    const pose = newPose();
    pose.tracked = 7;
    pose.parts.set([0.0625, 1.6875, 0.03125, ...q4, 0.25, 1.125, -0.5, ...q5, -0.3, 0.9, 0.1, 0, 0, 0, 1]);
    pose.grips.set([1, 0.2, 0, 0]);
    const sample = new Uint8Array(34);
    writeSample(new DataView(sample.buffer), 0, pose, 0);
    expect(hex(encodePose(123456, sample))).toBe(said[0]?.hex);
    const three = new Uint8Array(3 * 34);
    const view = new DataView(three.buffer);
    pose.grips.fill(0);
    pose.parts.copyWithin(2 * PART_STRIDE, PART_STRIDE, 2 * PART_STRIDE);
    pose.tracked = 1;
    writeSample(view, 0, pose, 33);
    pose.tracked = 5;
    writeSample(view, 34, pose, 16);
    pose.tracked = 1;
    writeSample(view, 68, pose, 0);
    expect(hex(encodePose(2 ** 32 - 1, three))).toBe(said[1]?.hex);
  });

  it("what is told has the vectors' places", () => {
    const [first] = heard;
    const message = poses(unhex(first?.hex ?? ""));
    const held = first?.held ?? {};
    const pose = newPose();
    let i = 0;
    message.nearNumber.forEach((number, k) => {
      for (const sample of held[`${number}`] ?? []) {
        readNear(message, i, pose);
        same(pose, sample);
        expect(message.backMs[i++]).toBe(sample.back_ms);
      }
      expect(message.nearSamples[k]).toBe(held[`${number}`]?.length ?? 0);
    });
    message.midNumber.forEach((number, k) => {
      readMid(message, k, pose);
      for (const sample of held[`${number}`] ?? []) same(pose, sample);
    });
    expect(i).toBe(2);
    expect(message.midNumber.length).toBe(1);
  });

  it("any truncation and any changed byte is refused as a ProtocolError or decoded within bounds", () => {
    for (const { hex: bytes } of heard) {
      const whole = unhex(bytes);
      for (let i = 0; i < whole.length; i++) {
        const changed = whole.slice();
        changed[i] = (changed[i] ?? 0) ^ 0xff;
        for (const data of [whole.slice(0, i), changed]) {
          try {
            decode(data);
          } catch (error) {
            expect(error).toBeInstanceOf(ProtocolError);
          }
        }
      }
    }
  });
});

function same(pose: Pose, sample: Sample): void {
  [sample.head, sample.left, sample.right].forEach((part, k) => {
    expect((pose.tracked & (1 << k)) !== 0).toBe(part !== null);
    if (part !== null) close(pose.parts.subarray(k * PART_STRIDE), [...part.p, ...part.q]);
  });
  close(pose.grips, sample.grip.flat());
}

const ENTERED: Structure = {
  ...{ type: "structure", sseq: 3, tick: 999, frame: 1, origin: [0, 0, 0] },
  ...{ enterId: new BigUint64Array([70n]), enterNumber: new Uint16Array([7]), enterKind: new Uint16Array([0]) },
  ...{ enterP: new Int16Array(3), enterV: new Int16Array(3), enterAge: new Uint8Array(1), enterYaw: new Uint8Array(1) },
  ...{ enterBlobs: [], leaveNumber: new Uint16Array(), stateNumber: new Uint16Array(), stateBlobs: [] },
};

/** One near sample of number 7: the head `x` / 256 m aside. */
function told(tick: number, x: number, sseq = 3): Poses {
  const none = new Uint32Array([(512 << 20) | (512 << 10) | 512]);
  const still = new Uint32Array([packRotation([0, 0, 0, 1], 0)]);
  return {
    ...{
      type: "poses",
      stream: 1,
      tick,
      sseq,
      nearP: [new Uint32Array([(512 << 20) | (512 << 10) | (512 + x)]), none, none],
    },
    ...{ nearQ: [still, still, still], midHead: new Uint32Array(), nearNumber: new Uint16Array([7]) },
    ...{ midNumber: new Uint16Array(), midHand: [new Uint16Array(), new Uint16Array()] },
    ...{ nearSamples: new Uint8Array([1]), backMs: new Uint8Array([0]), tracked: new Uint8Array([1]) },
    grip: [new Uint8Array(1), new Uint8Array(1)],
  };
}

describe("poses that are shown", () => {
  const out = newPose();

  it("lie between samples, somewhat behind, and hold when nothing comes", () => {
    const tracks = new PoseTracks();
    tracks.structure(ENTERED);
    for (let tick = 1000; tick <= 1010; tick++) tracks.tell(told(tick, tick - 1000), 20);
    expect(tracks.shown(7, 1010, out)).toBe(true);
    expect((out.parts[0] ?? 0) * 256).toBeCloseTo(8.5, 3);
    tracks.shown(7, 1010.25, out);
    expect((out.parts[0] ?? 0) * 256).toBeCloseTo(8.75, 3);
    tracks.shown(7, 1100, out);
    expect((out.parts[0] ?? 0) * 256).toBeCloseTo(10, 3);
    expect(tracks.count).toBe(1);
  });

  it("do not glide through a rest when motion begins again", () => {
    const tracks = new PoseTracks();
    tracks.structure(ENTERED);
    tracks.tell(told(1000, 0), 20);
    tracks.tell(told(1040, 100), 20);
    tracks.shown(7, 1039, out);
    expect(out.parts[0]).toBeCloseTo(0, 6);
    tracks.shown(7, 1041.5, out);
    expect((out.parts[0] ?? 0) * 256).toBeCloseTo(100, 3);
  });

  it("are of entities that are there, in order of ticks, and end when they are told to", () => {
    const tracks = new PoseTracks();
    tracks.tell(told(1000, 5), 20);
    expect(tracks.shown(7, 1001, out)).toBe(false);
    tracks.structure(ENTERED);
    tracks.tell(told(1000, 5, 2), 20); // older than the enter: of another entity
    expect(tracks.shown(7, 1001, out)).toBe(false);
    tracks.tell(told(1005, 5), 20);
    tracks.tell(told(1004, 9), 20);
    tracks.shown(7, 1010, out);
    expect((out.parts[0] ?? 0) * 256).toBeCloseTo(5, 3);
    tracks.tell({ ...told(1006, 0), nearSamples: new Uint8Array([0]), tracked: new Uint8Array() }, 20);
    expect(tracks.shown(7, 1010, out)).toBe(false);
    tracks.tell(told(1007, 1), 20);
    tracks.structure({ ...ENTERED, sseq: 4, leaveNumber: new Uint16Array([7]), enterNumber: new Uint16Array() });
    expect(tracks.shown(7, 1010, out)).toBe(false);
  });
});

describe("the own pose", () => {
  it("is said 20 times a second with three samples over that time, oldest first, from the body's feet", () => {
    const sayer = new PoseSayer();
    const pose = newPose();
    pose.tracked = 1;
    const messages: { readonly at: number; readonly bytes: Uint8Array }[] = [];
    for (let now = 1000; now < 2000; now += 11) {
      pose.parts[0] = 10 + now / 1000;
      sayer.track(pose, 10, 0, 0, now);
      const bytes = sayer.say(now);
      if (bytes !== null) messages.push({ at: now, bytes: bytes.slice() });
    }
    expect(messages.length).toBeGreaterThanOrEqual(18);
    for (const [i, { at, bytes }] of messages.entries()) {
      if (i === 0) continue;
      expect(at - (messages[i - 1]?.at ?? 0)).toBeGreaterThanOrEqual(48);
      expect(bytes.length).toBe(3 * 34);
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const back = [0, 34, 68].map((from) => view.getUint8(from));
      expect(back[2]).toBe(0);
      expect(back[0]).toBeGreaterThan(back[1] ?? 0);
      expect(back[1]).toBeGreaterThan(0);
      expect(back[0]).toBeLessThanOrEqual(50);
      for (const [k, from] of [0, 34, 68].entries()) {
        expect(view.getInt16(from + 16, true)).toBe(Math.round(((at - (back[k] ?? 0)) / 1000) * 1024));
      }
    }
  });

  it("is not said without a head, nor twice", () => {
    const sayer = new PoseSayer();
    const pose = newPose();
    sayer.track(pose, 0, 0, 0, 0);
    expect(sayer.say(0)).toBeNull();
    pose.tracked = 1;
    sayer.track(pose, 0, 0, 0, 10);
    expect(sayer.say(10)).toHaveLength(34);
    expect(sayer.say(100)).toBeNull();
  });
});
