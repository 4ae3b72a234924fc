import { decode as unpack, encode as pack } from "@msgpack/msgpack";
import { expect, it } from "vitest";

import { Session, type Action } from "../src/net/session";
import { unhex, vectors, type FrameVectors } from "./vectors";

const { messages } = vectors("frames.json") as FrameVectors;
const WELCOME = unhex(messages.find((m) => m.kind === "Welcome")?.hex ?? "");
const MOVE = unhex(messages.find((m) => m.kind === "Move")?.hex ?? "");
const FULL = unhex(messages.find((m) => m.kind === "Closing")?.hex ?? "");

const opens = (actions: Action[]) => actions.filter((action) => action.do === "open");
const sent = (actions: Action[]) => actions.filter((a) => a.do === "send").map((a) => unpack(a.data) as unknown[]);
const status = (actions: Action[]) => actions.find((action) => action.do === "status")?.status;

/** A session in the world on link 1. */
function joined(): Session {
  const session = new Session(() => 0);
  expect(opens(session.join("Åsa", "token"))).toEqual([{ do: "open", link: 1, url: null }]);
  expect(sent(session.opened(1))[0]?.slice(0, 7)).toEqual([1, 1, 1, "token", "Åsa", "desktop", null]);
  expect(status(session.received(1, WELCOME, 0))?.state).toBe("welcomed");
  return session;
}

it("says that it lives when it has been silent for the time that the server named", () => {
  const session = joined();
  session.applied(7);
  expect(session.idle(100)).toEqual([]);
  expect(sent(session.idle(200))).toEqual([[3, 7, 200]]);
  expect(session.idle(300)).toEqual([]);
  const command = { moveX: 127, moveZ: 0, yaw: 0, buttons: 0, steps: 3 };
  expect(sent(session.input(5, [command], 390))[0]?.slice(0, 4)).toEqual([2, 5, 7, 390]);
  expect(session.idle(500)).toEqual([]);
});

it("resumes with its ticket after a lost connection, at growing intervals, and not after 30 s", () => {
  const session = joined();
  const lost = session.closed(1, 1006, "", 1000);
  expect(status(lost)?.state).toBe("waiting");
  expect(lost.at(-1)).toEqual({ do: "wake", afterMs: 50 });
  expect(session.wake(1040)).toEqual([]);
  expect(opens(session.wake(1050))).toEqual([{ do: "open", link: 2, url: null }]);
  expect(sent(session.opened(2))[0]?.[6]).toEqual(new Uint8Array(32).fill(1));
  expect(session.closed(2, 1006, "", 1100).at(-1)).toEqual({ do: "wake", afterMs: 100 });
  session.wake(40_000);
  expect(sent(session.opened(3))[0]?.[6]).toBeNull();
});

it("waits as long as a full server asks", () => {
  const session = new Session(() => 0);
  session.join("a", null);
  session.opened(1);
  expect(session.received(1, FULL, 0)).toEqual([]);
  const closed = session.closed(1, 4100, "", 0);
  expect(status(closed)?.text).toContain("full");
  expect(closed.at(-1)).toEqual({ do: "wake", afterMs: 5500 });
});

it.each([
  [4201, true],
  [4303, false],
])("code %i ends the session", (code, wantsToken) => {
  const session = joined();
  const closed = session.closed(1, code, "", 0);
  expect(status(closed)).toMatchObject({ state: "ended", wantsToken });
  expect(opens(session.wake(1e9))).toEqual([]);
  expect(session.idle(1e9)).toEqual([]);
});

it("moves: opens the new link, serves on the old one until welcomed, then switches", () => {
  const session = joined();
  expect(opens(session.received(1, MOVE, 10))).toEqual([{ do: "open", link: 2, url: "wss://b.example/ws" }]);
  expect(sent(session.opened(2))[0]?.[6]).toEqual(new TextEncoder().encode("t".repeat(32)));
  expect(session.idle(300)).toMatchObject([{ do: "send", link: 1 }]);
  const switched = session.received(2, WELCOME, 310);
  expect(switched[0]).toEqual({ do: "close", link: 1 });
  expect(session.idle(600)).toMatchObject([{ do: "send", link: 2 }]);
  expect(session.closed(1, 4001, "", 700)).toEqual([]);
});

it("a move that fails leaves the old link in service", () => {
  const session = joined();
  session.received(1, MOVE, 10);
  expect(session.closed(2, 1006, "", 20)).toEqual([]);
  expect(session.idle(300)).toMatchObject([{ do: "send", link: 1 }]);
});

it("a lost gateway and the page's own are tried in turn", () => {
  const session = joined();
  session.received(1, MOVE, 10);
  session.opened(2);
  session.received(2, WELCOME, 20);
  const urls: unknown[] = [];
  for (let link = 2; link < 6; link++) {
    session.closed(link, 1006, "", 1000 * link);
    urls.push(opens(session.wake(1000 * link + 999)).map((open) => open.url));
  }
  expect(urls).toEqual([[null], ["wss://b.example/ws"], [null], ["wss://b.example/ws"]]);
});

it("begins anew when the server says what cannot be, and ignores what it does not know", () => {
  const session = joined();
  expect(session.received(1, pack([99, "later"]), 0)).toEqual([]);
  const broken = session.received(1, unhex("c1"), 0);
  expect(broken[0]).toEqual({ do: "close", link: 1 });
  expect(status(broken)?.state).toBe("waiting");
});

it("leaves with BYE and stays away", () => {
  const session = joined();
  const left = session.leave();
  expect(sent(left)).toEqual([[6]]);
  expect(session.resumeTicket).toBeNull();
  expect(session.closed(1, 1000, "", 0)).toEqual([]);
});

it("becomes another device with the same body, by its ticket and without a goodbye", () => {
  const session = joined();
  expect(session.become("desktop")).toEqual([]);
  const actions = session.become("vr");
  expect(actions[0]).toEqual({ do: "close", link: 1 });
  expect(opens(actions)).toEqual([{ do: "open", link: 2, url: null }]);
  expect(sent(actions)).toEqual([]);
  expect(sent(session.opened(2))[0]?.slice(0, 7)).toEqual([
    ...[1, 1, 1, "token", "Åsa", "vr", new Uint8Array(32).fill(1)],
  ]);
});

it("poses and watches are said in the world only, and are no heartbeat", () => {
  expect(new Session(() => 0).pose(new Uint8Array(34), 0)).toEqual([]);
  const session = joined();
  expect(sent(session.pose(new Uint8Array(34), 150))).toEqual([[8, 150, new Uint8Array(34)]]);
  expect(sent(session.watch("square", 60))).toEqual([[9, "square", 60]]);
  expect(sent(session.idle(200))).toHaveLength(1);
});
