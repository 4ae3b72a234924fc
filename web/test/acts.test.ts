import { decode as unpack, encode as pack } from "@msgpack/msgpack";
import { expect, it } from "vitest";

import { ActLost, ActRefused } from "../src/net/acts";
import { Session, type Action } from "../src/net/session";
import { unhex, vectors, type FrameVectors } from "./vectors";

const { messages } = vectors("frames.json") as FrameVectors;
const WELCOME = unhex(messages.find((m) => m.kind === "Welcome")?.hex ?? "");

/** The vectors' WELCOME with some items of its own. */
function welcome(changes: Record<string, unknown> = {}): Uint8Array {
  const items = unpack(WELCOME, { useBigInt64: true }) as [number, Record<string, unknown>];
  return pack([items[0], { ...items[1], ...changes }], { useBigInt64: true });
}

const acts = (actions: readonly Action[]) =>
  actions
    .filter((action) => action.do === "send")
    .map((action) => unpack(action.data) as unknown[])
    .filter((items) => items[0] === 5)
    .map((items) => items.slice(1));
const answer = (number: number, code: number, value: unknown, sseq = 1) => pack([26, sseq, number, code, value]);

function joined(): Session {
  const session = new Session(() => 0);
  session.join("a", "token");
  session.opened(1);
  session.received(1, welcome(), 0);
  return session;
}

/** The connection breaks, and another one is welcomed. */
function resumed(session: Session, changes: Record<string, unknown> = {}): Action[] {
  session.closed(1, 1006, "", 0);
  session.wake(1000);
  session.opened(2);
  return session.received(2, welcome(changes), 1000);
}

it("numbers go on after those that the body has taken, and answers settle the promises", async () => {
  const session = joined();
  const first = session.act("buy", { what: "apple" });
  const second = session.act("sit", undefined);
  expect(acts(first.actions)).toEqual([[42, "buy", { what: "apple" }]]);
  expect(acts(second.actions)).toEqual([[43, "sit", null]]);
  session.received(1, answer(42, 0, 7), 0);
  session.received(1, answer(43, 1, "no chair", 2), 0);
  await expect(first.answer).resolves.toBe(7);
  await expect(second.answer).rejects.toThrow(new ActRefused(1, "no chair"));
});

it("what is not answered is said again on the next connection, with its number, before anything new", () => {
  const session = joined();
  session.act("one", 1);
  session.act("two", 2);
  session.received(1, answer(42, 0, null), 0);
  const again = resumed(session, { acted: 43 });
  expect(acts(again)).toEqual([[43, "two", 2]]);
  expect(acts(session.act("three", 3).actions)).toEqual([[44, "three", 3]]);
});

it("what is asked without a connection is said with the next one", () => {
  const session = joined();
  session.closed(1, 1006, "", 0);
  expect(session.act("later", null).actions).toEqual([]);
  session.wake(1000);
  session.opened(2);
  expect(acts(session.received(2, welcome({ acted: 50 }), 1000))).toEqual([[51, "later", null]]);
});

it.each([{ body: 100 }, { session: 8, acted: 0 }])("an act of a body that is gone is lost: %o", async (changes) => {
  const session = joined();
  const { answer: lost } = session.act("one", null);
  expect(acts(resumed(session, changes))).toEqual([]);
  await expect(lost).rejects.toThrow(ActLost);
});

it("leaving settles what waits, and more than 16 may not wait", async () => {
  const session = joined();
  const waiting = Array.from({ length: 16 }, () => session.act("wait", null).answer);
  expect(() => session.act("wait", null)).toThrow(RangeError);
  session.leave();
  const settled = await Promise.allSettled(waiting);
  expect(settled.every((one) => one.status === "rejected")).toBe(true);
});

it("an answer to what was not asked is a broken server's", () => {
  const session = joined();
  expect(session.received(1, answer(42, 0, null), 0)[0]).toEqual({ do: "close", link: 1 });
});
