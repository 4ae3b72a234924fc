import { decode as unpack, encode as pack } from "@msgpack/msgpack";
import { expect, it } from "vitest";

import { Session, type Action, type Numbered } from "../src/net/session";
import { Upgrading } from "../src/net/upgrading";
import { unhex, vectors, type DatagramVectors, type FrameVectors } from "./vectors";

const { messages } = vectors("frames.json") as FrameVectors;
const WELCOME = unhex(messages.find((m) => m.kind === "Welcome")?.hex ?? "");
const MOVE = unhex(messages.find((m) => m.kind === "Move")?.hex ?? "");
const TOKENS = (vectors("datagrams.json") as DatagramVectors).messages.filter((m) => m.kind === "Token");
const TOKEN = unhex(TOKENS.at(-1)?.hex ?? "");
const REFUSED = pack([27, null, 0, new Uint8Array(), new Uint8Array(), 0, "this server takes no datagrams"]);
const REPLACED = pack([24, 4303, null, "a newer session"]);

const opens = (actions: Action[]) => actions.filter((a) => a.do === "open" || a.do === "open datagrams");
const sent = (actions: Action[]) =>
  actions.filter((a) => a.do === "send").map((a) => unpack(a.data, { useBigInt64: true }) as unknown[]);
const status = (actions: Action[]) => actions.find((action) => action.do === "status")?.status;
const command = { moveX: 127, moveZ: 0, yaw: 0, buttons: 0, steps: 3 };
const pending = (first: number, last: number): Numbered[] =>
  Array.from({ length: last - first + 1 }, (_, i) => ({ seq: first + i, command }));

/** A session in the world on link 1, over WebSocket, that has asked for datagrams. */
function asked(): Session {
  const session = new Session(() => 0, "desktop", true);
  session.join("Åsa", "token");
  session.opened(1);
  session.received(1, WELCOME, 0);
  expect(sent(session.idle(0))).toEqual([[10, 1, 1]]);
  return session;
}

/** One on link 2, over datagrams. */
function over(): Session {
  const session = asked();
  expect(opens(session.received(1, TOKEN, 10))).toMatchObject([
    { do: "open datagrams", link: 2, address: "https://world.example:8443/datagrams" },
  ]);
  expect(sent(session.opened(2))[0]?.[6]).toEqual(new Uint8Array(32).fill(1));
  expect(session.overDatagrams).toBe(false);
  const welcomed = session.received(2, WELCOME, 30);
  expect(welcomed[0]).toEqual({ do: "close", link: 1 });
  expect(status(welcomed)).toMatchObject({ state: "welcomed", carrier: "WebTransport" });
  expect(session.overDatagrams).toBe(true);
  return session;
}

it("a browser without WebTransport never asks", () => {
  const session = new Session(() => 0);
  session.join("a", null);
  session.opened(1);
  session.received(1, WELCOME, 0);
  expect(sent(session.idle(1e6)).filter(([type]) => type === 10)).toEqual([]);
});

it("asks once on a gateway, goes over with its ticket, and closes the link before", () => {
  const session = over();
  expect(session.closed(1, 4303, "", 40)).toEqual([]);
  expect(sent(session.idle(1e3)).filter(([type]) => type === 10)).toEqual([]);
});

it("a token that says why not is heeded, and asked for again later, ever more rarely", () => {
  const session = asked();
  expect(session.received(1, REFUSED, 10)).toEqual([]);
  expect(session.upgrading.problem).toContain("no datagrams");
  const asks: number[] = [];
  for (let ms = 100; ms < 100_000; ms += 100) {
    if (sent(session.idle(ms)).some(([type]) => type === 10)) asks.push(ms);
  }
  expect(asks).toEqual([5000, 15_000, 35_000, 75_000]);
});

it("an address that is no WebTransport's, and a token that nobody asked for, open nothing", () => {
  const session = asked();
  const udp = pack([27, "world.example:8080", 1, new Uint8Array(32), new Uint8Array(32), 9, ""]);
  expect(session.received(1, udp, 10)).toEqual([]);
  expect(session.received(1, TOKEN, 20)).toEqual([]);
});

it("says over datagrams what has come, and all that is not known to be applied", () => {
  const session = over();
  session.applied(9, 5n);
  const said = session.input(20, [command], 40, pending(1, 20));
  expect(said.every((action) => action.do === "send" && action.mayBeLost === true)).toBe(true);
  expect(sent(said).map(([type, seq, frame, , , earlier]) => [type, seq, frame, earlier])).toEqual([
    [2, 8, 9, 5n],
    [2, 16, 9, 5n],
    [2, 20, 9, 5n],
  ]);
  expect(session.idle(80, pending(1, 20))).toEqual([]);
  expect(sent(session.idle(90, pending(19, 20))).map((m) => m.slice(0, 3))).toEqual([[2, 20, 9]]);
  expect(session.idle(150, [])).toEqual([]);
  session.applied(10, 11n);
  expect(sent(session.idle(150, [])).map(([type, frame, , earlier]) => [type, frame, earlier])).toEqual([[3, 10, 11n]]);
  const lots = session.input(99, [command], 200, pending(1, 99));
  expect(sent(lots).map((m) => m[1])).toEqual([75, 83, 91, 99]);
});

it("what must arrive is said reliably", () => {
  const session = over();
  expect(session.chat(0, "hello")).toMatchObject([{ do: "send", link: 2 }]);
  expect(session.chat(0, "hello")[0]).not.toHaveProperty("mayBeLost");
});

it("silence leads back to WebSocket at once, with the ticket, and to datagrams again later", () => {
  const session = over();
  for (let ms = 50; ms <= 3000; ms += 50) expect(opens(session.idle(ms))).toEqual([]);
  session.heard(2, 3010);
  let back: Action[] = [];
  let ms = 3050;
  for (; back.length === 0; ms += 50) back = session.idle(ms).filter((action) => action.do !== "send");
  expect(ms).toBe(6100);
  expect(back[0]).toEqual({ do: "close", link: 2 });
  expect(opens(back)).toEqual([{ do: "open", link: 3, url: null }]);
  expect(session.upgrading.problem).toContain("silent");
  expect(sent(session.opened(3))[0]?.[6]).toEqual(new Uint8Array(32).fill(1));
  expect(status(session.received(3, WELCOME, ms))).toMatchObject({ state: "welcomed", carrier: "WebSocket" });
  session.applied(4);
  expect(sent(session.input(5, [command], ms, pending(1, 5)))).toEqual([[2, 5, 4, ms, expect.anything()]]);
});

it("a page that stood still itself does not take that for silence", () => {
  const session = over();
  session.idle(50);
  expect(opens(session.idle(60_000))).toEqual([]);
  session.heard(2, 60_001);
  expect(opens(session.idle(60_050))).toEqual([]);
});

it("datagrams that never open leave the session where it is", () => {
  const session = asked();
  session.received(1, TOKEN, 10);
  expect(session.closed(2, 1006, "opening handshake failed", 20)).toEqual([]);
  expect(session.upgrading.problem).toContain("handshake");
  expect(session.idle(300)).toMatchObject([{ do: "send", link: 1 }]);
});

it("and so do those that never welcome; told that it was replaced, the page has replaced itself", () => {
  const session = asked();
  session.received(1, TOKEN, 10);
  session.opened(2);
  for (let ms = 50; ms < 3050; ms += 50) session.idle(ms);
  expect(session.idle(3050)[0]).toEqual({ do: "close", link: 2 });
  session.received(1, REPLACED, 4000);
  const closed = session.closed(1, 4303, "", 4000);
  expect(status(closed)?.state).toBe("waiting");
  expect(opens(session.wake(5000))).toEqual([{ do: "open", link: 3, url: null }]);
});

it("the link before may be told that it was replaced ahead of the welcome", () => {
  const session = asked();
  session.received(1, TOKEN, 10);
  session.opened(2);
  session.received(1, REPLACED, 20);
  expect(session.closed(1, 4303, "", 20)).toEqual([]);
  expect(status(session.received(2, WELCOME, 30))).toMatchObject({ state: "welcomed", carrier: "WebTransport" });
});

it("CLOSE ends a link over datagrams, which no connection's end would tell", () => {
  const session = over();
  const closed = session.received(2, REPLACED, 100);
  expect(closed[0]).toEqual({ do: "close", link: 2 });
  expect(status(closed)?.state).toBe("ended");
});

it("a move leads over WebSocket to the new gateway, which is asked at once", () => {
  const session = over();
  expect(opens(session.received(2, MOVE, 100))).toEqual([{ do: "open", link: 3, url: "wss://b.example/ws" }]);
  session.opened(3);
  expect(session.received(3, WELCOME, 120)[0]).toEqual({ do: "close", link: 2 });
  expect(session.overDatagrams).toBe(false);
  expect(sent(session.idle(130))).toContainEqual([10, 1, 1]);
});

it("a network that drops datagrams is tried at 10 s, 20 s … and at most every 5 minutes", () => {
  const upgrading = new Upgrading(true, () => 0.999999);
  upgrading.onWebSocket(0, true);
  const waits: number[] = [];
  for (let i = 0, now = 0; i < 8; i++) {
    now = upgrading.atMs;
    upgrading.asked(now);
    upgrading.onWebSocket(now, false);
    waits.push(Math.round((upgrading.atMs - now) / 1000));
  }
  expect(waits).toEqual([10, 20, 40, 80, 160, 300, 300, 300]);
});
