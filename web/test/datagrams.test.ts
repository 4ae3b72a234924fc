import { decode as unpack } from "@msgpack/msgpack";
import { describe, expect, it } from "vitest";

import { DatagramLink } from "../src/net/datagramlink";
import { ProtocolError } from "../src/protocol/codes";
import { KIND_MESSAGE, parts, plaintext, StreamIn, StreamOut } from "../src/protocol/datagrams";
import { decode, encodeAck, encodeAskDatagrams, encodeInput } from "../src/protocol/messages";
import { ValueRecords } from "../src/protocol/values";
import { hex, unhex, vectors, type DatagramVectors } from "./vectors";

const known = vectors("datagrams.json") as DatagramVectors;
const MESSAGE_BYTES_MAX = 65_536;
const ROOM = 1171;

describe("the plaintext", () => {
  it("comes apart into what it was joined from", () => {
    for (const { received, parts: wanted } of known.sealed) {
      const plain = plaintext(
        received,
        wanted.map(([kind, data]) => ({ kind, data: unhex(data) })),
      );
      const read = parts(plain);
      expect(read.received).toBe(received);
      // Kinds that are unknown are left out.
      expect(read.parts.map(({ kind, data }) => [kind, hex(data)])).toEqual(wanted.filter(([kind]) => kind <= 3));
    }
  });

  it.each(known.malformed)("$name is refused", (vector) => {
    expect(() => parts(unhex(vector.hex))).toThrow(ProtocolError);
  });
});

describe("reliable streams", () => {
  it.each(known.streams)("$name", ({ steps }) => {
    const stream = new StreamIn(MESSAGE_BYTES_MAX);
    for (const { offset, hex: data, messages, received } of steps) {
      if (messages === null) expect(() => stream.take({ offset, data: unhex(data) })).toThrow(ProtocolError);
      else {
        expect(stream.take({ offset, data: unhex(data) }).map(hex)).toEqual(messages);
        expect(stream.received).toBe(received);
      }
    }
  });

  it("says again what is not acknowledged, after a round trip and some patience", () => {
    const out = new StreamOut();
    out.push(Uint8Array.of(1, 2, 3));
    expect(out.take(0, 100)?.data.length).toBe(7);
    expect(out.take(100, 100)).toBeNull();
    expect(out.take(250, 100)?.offset).toBe(0);
    out.acknowledged(7, 300);
    expect(out.waitingBytes).toBe(0);
    expect(out.take(5000, 100)).toBeNull();
    expect(() => {
      out.acknowledged(8, 300);
    }).toThrow(ProtocolError);
  });

  it("bring everything in order over a network that loses, doubles and reorders", () => {
    let seed = 7;
    const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
    const [here, there] = [new DatagramLink(), new DatagramLink()];
    const said = Array.from({ length: 60 }, (_, i) => new Uint8Array(1 + ((i * 137) % 3000)).fill(i));
    const heard: string[] = [];
    const flying: { atMs: number; to: DatagramLink; data: Uint8Array }[] = [];
    for (let nowMs = 0; heard.length < said.length; nowMs += 10) {
      expect(nowMs).toBeLessThan(60_000);
      const message = said[nowMs / 10];
      if (message !== undefined) here.say(message, false);
      for (const [from, to] of [
        [here, there],
        [there, here],
      ] as const) {
        for (const data of from.take(nowMs, ROOM)) {
          expect(data.length).toBeLessThanOrEqual(ROOM);
          for (let copies = random() < 0.1 ? 2 : 1; copies > 0; copies--) {
            if (random() > 0.2) flying.push({ atMs: nowMs + 20 + 60 * random(), to, data });
          }
        }
      }
      for (const datagram of flying.splice(0)) {
        if (datagram.atMs > nowMs) flying.push(datagram);
        else heard.push(...datagram.to.receive(datagram.data, nowMs).map(hex));
      }
    }
    expect(heard).toEqual(said.map(hex));
  });
});

describe("a link", () => {
  it("puts what is said in one turn into one datagram, and acknowledges soon what came reliably", () => {
    const [here, there] = [new DatagramLink(), new DatagramLink()];
    here.say(Uint8Array.of(1), true);
    here.say(Uint8Array.of(2), false);
    const [datagram, ...more] = here.take(0, ROOM);
    expect(more).toEqual([]);
    expect(there.receive(datagram ?? new Uint8Array(), 10).map(hex)).toEqual(["02", "01"]);
    expect(there.take(20, ROOM)).toEqual([]);
    const [answer] = there.take(30, ROOM);
    here.receive(answer ?? new Uint8Array(), 40);
    expect(here.settled).toBe(true);
  });

  it("drops what may be lost and fits into no datagram of this path", () => {
    const link = new DatagramLink();
    link.say(new Uint8Array(900), true);
    link.say(Uint8Array.of(9), true);
    const [datagram] = link.take(0, 800);
    expect(parts(datagram ?? new Uint8Array()).parts.map(({ kind, data }) => [kind, hex(data)])).toEqual([
      [KIND_MESSAGE, "09"],
    ]);
    expect(link.take(0, 800)).toEqual([]);
  });
});

it("values show the same, in and out of order", () => {
  const records = new ValueRecords();
  for (const step of known.values) {
    const message = decode(unhex(step.hex));
    if (message?.type === "structure") {
      records.applyStructure(
        message,
        () => undefined,
        () => undefined,
      );
      records.release(() => undefined);
    } else if (message?.type === "values") expect(records.heard(message, () => undefined)).toBe(step.came);
    else throw new Error(`a ${String(message?.type)} among the values`);
    expect([records.arrivals.newest, records.arrivals.earlier.toString()]).toEqual([step.frame, step.earlier]);
    const shown = [...records.live].map((n) => [String(records.id[n]), records.shown(n, step.shown_at)] as const);
    expect(new Set(shown.map(([id]) => id))).toEqual(new Set(Object.keys(step.shown)));
    for (const [id, place] of shown) {
      place.forEach((value, axis) => {
        expect(value).toBeCloseTo(step.shown[id]?.[axis] ?? NaN, 9);
      });
    }
  }
});

it("messages that only sessions over datagrams have", () => {
  for (const { from, kind, hex: data } of known.messages) {
    const items = unpack(unhex(data), { useBigInt64: true }) as unknown[];
    if (from === "server") {
      const token = decode(unhex(data));
      if (token?.type !== "token") throw new Error(`a ${String(token?.type)} instead of TOKEN`);
      expect([token.address, token.number, token.keyUp, token.text]).toEqual([items[1], items[2], items[3], items[6]]);
      expect(token.certificates).toEqual(items[7] ?? []);
    } else if (kind === "Ack") {
      expect(unpack(encodeAck(3, 2 ** 31, 0n))).toEqual(unpack(unhex(data)));
    } else if (kind === "Input") {
      const earlier = 2n ** 63n + 1n;
      const said = unpack(encodeInput(2 ** 32 - 1, 70_000, 12, [], earlier), { useBigInt64: true }) as unknown[];
      expect([...said.slice(0, 4), said[5]]).toEqual([...items.slice(0, 4), items[5]]);
    } else if (items.length > 2) expect(hex(encodeAskDatagrams(1, 1))).toBe(data);
  }
});
