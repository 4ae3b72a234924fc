import { encode as pack } from "@msgpack/msgpack";
import { describe, expect, it } from "vitest";

import { adviceOf, meaningOf, ProtocolError } from "../src/protocol/codes";
import {
  decode,
  encodeAck,
  encodeAct,
  encodeBye,
  encodeHello,
  encodeInput,
  encodeSay,
  toWire,
} from "../src/protocol/messages";
import { hex, unhex, vectors, type FrameVectors } from "./vectors";

const { messages } = vectors("frames.json") as FrameVectors;
const ofServer = (kind: string) => {
  const found = messages.find((message) => message.from === "server" && message.kind === kind);
  return decode(unhex(found?.hex ?? ""));
};

describe("messages of the server, from the vectors", () => {
  it("welcome", () => {
    expect(ofServer("Welcome")).toMatchObject({
      ...{ type: "welcome", session: 7n, generation: 2, world: "helsinki", tick: 2 ** 33, rateHz: 20, stepsPerTick: 3 },
      ...{ body: 99n, radiusM: 100, nearRadiusM: 30, schema: null, map: "/map/index.json", idleAckMs: 200, acted: 41 },
      ...{ anchor: [60.17, 24.94, 12.5], attribution: "© OpenStreetMap contributors" },
    });
  });
  it("chat, presence, notice", () => {
    expect(ofServer("Chat")).toEqual({ type: "chat", sseq: 3, scope: 1, from: 5n, name: "Åsa", text: "hello" });
    expect(ofServer("Presence")).toEqual({
      ...{ type: "presence", sseq: 4, online: 12, left: [9n] },
      joined: [
        [5n, "Åsa"],
        [6n, "b"],
      ],
    });
    expect(ofServer("Notice")).toEqual({ type: "notice", sseq: 5, code: 1, text: "slow down" });
  });
  it("move, schema, close, event", () => {
    expect(ofServer("Move")).toMatchObject({ type: "move", sseq: 6, url: "wss://b.example/ws", withinMs: 5000 });
    const schema = ofServer("Schema");
    if (schema?.type !== "schema") throw new Error("no schema");
    expect(schema.schema.kinds.get(0)).toBe("person");
    expect(schema.schema.components.get(1)).toEqual({ key: 1, name: "name", scale: null });
    expect(ofServer("Closing")).toEqual({ type: "close", code: 4100, retryAfterMs: 5000, text: "full" });
    expect(ofServer("Event")).toMatchObject({ type: "event", sseq: 8, entity: null, name: "bell" });
  });
  it("answer", () => {
    expect(ofServer("Answer")).toEqual({ type: "answer", sseq: 9, number: 1, code: 0, value: { rung: 3 } });
  });
  it("types of later versions are ignored, nonsense is refused", () => {
    expect(decode(pack([99, 1, 2]))).toBeNull();
    for (const bad of [pack({}), pack([]), pack(["x"]), pack([19, 1]), pack([19, 1, 7, 1, "a", "b"]), unhex("c1")]) {
      expect(() => decode(bad)).toThrow(ProtocolError);
    }
  });
});

describe("messages of the client are the vectors' bytes", () => {
  const wanted = (kind: string) => messages.filter((m) => m.from === "client" && m.kind === kind).map((m) => m.hex);
  it("ack and bye", () => {
    expect(hex(encodeAck(3, 0x80000000))).toBe(wanted("Ack")[0]);
    expect(hex(encodeBye())).toBe(wanted("Bye")[0]);
  });
  it("act", () => {
    expect(hex(encodeAct(1, "ring", undefined))).toBe(wanted("Act")[0]);
    const payload = { what: ["apple", 3, -1.5, true, null], seal: unhex("00ff") };
    expect(hex(encodeAct(2 ** 32 - 1, "kåpa", payload))).toBe(wanted("Act")[1]);
  });
  it("say to an id of 64 bits", () => {
    expect(hex(encodeSay(2, "hi", 2n ** 63n + 1n))).toBe(wanted("Say")[0]);
  });
  it("hello and input have the vectors' shape", () => {
    const hello = encodeHello({
      token: "a.b.c",
      name: "Åsa",
      profile: "desktop",
      resume: null,
      schemaHash: unhex("3132333435363738"),
      agent: "test/1",
    });
    expect(hex(hello)).toBe(wanted("Hello")[0]);
    const command = { moveX: 0, moveZ: 1, yaw: 0x0302, buttons: 5, steps: 6 };
    expect(hex(encodeInput(0xffffffff, 70000, 12, [command]))).toBe("9502ceffffffffce000111700cc4080001020300050600");
  });
  it("wishes are rounded to what travels", () => {
    expect(toWire({ moveX: -1, moveZ: 0.5, yaw: -Math.PI / 2, buttons: 1, steps: 3 })).toEqual({
      ...{ moveX: -127, moveZ: 64, yaw: 49152, buttons: 1, steps: 3 },
    });
  });
});

it("the range of a close code is advice; each code of the standard has a sentence", () => {
  expect([1006, 4003, 4100, 4201, 4303].map(adviceOf)).toEqual([
    ...["reconnect now", "reconnect now", "reconnect later", "new token", "do not come back"],
  ]);
  expect(meaningOf(4303)).toContain("another window");
  expect(meaningOf(1006)).toContain("lost");
});
