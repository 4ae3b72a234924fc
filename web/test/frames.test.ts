import { describe, expect, it } from "vitest";

import { ProtocolError } from "../src/protocol/codes";
import { decodeOwn } from "../src/protocol/frames";
import { decode } from "../src/protocol/messages";
import { Records } from "../src/protocol/records";
import { hex, unhex, vectors, type FrameVectors } from "./vectors";

const { stream } = vectors("frames.json") as FrameVectors;

/** A column of vectors as rows of three, like the vector file has it. */
function rows(column: ArrayLike<number>): number[][] {
  const count = column.length / 3;
  return Array.from({ length: count }, (_, i) => [0, 1, 2].map((axis) => column[axis * count + i] ?? NaN));
}

describe("frame vectors", () => {
  it("decode to the items named, in views of the message", () => {
    for (const step of stream.steps) {
      const data = unhex(step.hex);
      const message = decode(data);
      const { items } = step;
      if (message?.type === "structure") {
        expect(message).toMatchObject({ sseq: items.sseq, tick: items.tick, frame: items.frame, origin: items.origin });
        // JSON's numbers lose the last bits of large ids; the position check below names them in full.
        expect(Array.from(message.enterId, Number)).toEqual(items.enter_id);
        expect([...message.enterNumber]).toEqual(items.enter_number);
        expect([...message.enterKind]).toEqual(items.enter_kind);
        expect(rows(message.enterP)).toEqual(items.enter_p);
        expect(rows(message.enterV)).toEqual(items.enter_v);
        expect([...message.enterAge]).toEqual(items.enter_age);
        expect([...message.enterYaw]).toEqual(items.enter_yaw);
        expect(message.enterBlobs.map(hex)).toEqual(items.enter_blobs);
        expect([...message.leaveNumber]).toEqual(items.leave_number);
        expect([...message.stateNumber]).toEqual(items.state_number);
        expect(message.stateBlobs.map(hex)).toEqual(items.state_blobs);
        expect(message.enterId.buffer).toBe(data.buffer);
      } else if (message?.type === "frame") {
        expect(message).toMatchObject({ stream: items.stream, frame: items.frame, tick: items.tick, sseq: items.sseq });
        expect(message.own).toEqual(items.own === null ? null : decodeOwn(unhex(items.own as string)));
        expect([...message.deltaNumber]).toEqual(items.delta_number);
        expect(rows(message.deltaD)).toEqual(items.delta_d);
        expect(rows(message.deltaDv)).toEqual(items.delta_dv);
        expect([...message.deltaYaw]).toEqual(items.delta_yaw);
        expect([...message.fullNumber]).toEqual(items.full_number);
        expect(rows(message.fullP)).toEqual(items.full_p);
        expect(rows(message.fullV)).toEqual(items.full_v);
        expect([...message.fullAge]).toEqual(items.full_age);
        expect([...message.fullYaw]).toEqual(items.full_yaw);
        if (message.deltaNumber.length > 0) expect(message.deltaNumber.buffer).toBe(data.buffer);
      } else expect.fail(`${step.kind} became ${message?.type}`);
    }
  });

  it("show all entities where the standard says, after each message", () => {
    const records = new Records();
    for (const step of stream.steps) {
      const message = decode(unhex(step.hex));
      if (message?.type === "structure") records.applyStructure(message, ignore, ignore);
      else if (message?.type === "frame") records.applyFrame(message, ignore);
      for (const [after, wanted] of Object.entries(step.shown_after)) {
        const tick = (step.items.tick as number) + Number(after);
        const shown = Object.fromEntries(
          [...records.live].map((number) => [`${records.id[number]}`, records.shown(number, tick)]),
        );
        expect(shown).toEqual(wanted);
      }
    }
  });

  it("reads own's fields", () => {
    const own = decodeOwn(unhex("0700000040e201001200010200fbffff0000000000fa00006600fdff00000000"));
    expect(own).toEqual({
      ...{ seq: 7, stampMs: 123456, holdMs: 18, flags: 1, steps: 2 },
      ...{ p: [-1280, 0, 64000], v: [102, -3, 0] },
    });
  });

  it("any truncation and any changed byte is refused as a ProtocolError or decoded within bounds", () => {
    for (const step of stream.steps) {
      const whole = unhex(step.hex);
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

  it("a gap in the structure, an unknown number and a number that lives are refused", () => {
    const [first, , delta, second] = stream.steps.map((step) => decode(unhex(step.hex)));
    if (first?.type !== "structure" || second?.type !== "structure" || delta?.type !== "frame")
      throw new Error("vectors");
    const records = new Records();
    expect(() => {
      records.applyStructure(second, ignore, ignore);
    }).toThrow(ProtocolError);
    expect(() => {
      records.applyFrame({ ...delta, sseq: 0 }, ignore);
    }).toThrow("does not live");
    records.applyStructure(first, ignore, ignore);
    expect(() => {
      records.applyStructure({ ...first, sseq: 2 }, ignore, ignore);
    }).toThrow("which lives");
  });
});

function ignore(): void {
  // These tests look at the records alone.
}
