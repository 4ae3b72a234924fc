import { decode, encode } from "@msgpack/msgpack";
import WebSocket from "ws";

export async function guestToken(page, name) {
  const answer = await fetch(`${page}/api/guest`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name }),
  });
  if (!answer.ok) throw new Error(`no token: ${await answer.text()}`);
  return (await answer.json()).token;
}

export async function connect(page) {
  const socket = new WebSocket(`${page.replace("http", "ws")}/ws`, "isthmus.v1", { perMessageDeflate: false });
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  return socket;
}

const HELLO = 1, INPUT = 2, ACK = 3, BYE = 6;
const WELCOME = 16, STRUCTURE = 17, FRAME = 18, NOTICE = 21, CLOSE = 24;

export const read = (data) => decode(data, { useBigInt64: true });
export const hello = (token, name) => encode([HELLO, 1, 1, token, name, "desktop", null, null, "tutorial/1"]);

export class Columns {
  constructor(bytes) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.bytes = bytes;
    this.at = 1 + bytes[0];
  }
  column(count, size, get) {
    const values = Array.from({ length: count }, (_, i) => get(this.at + i * size));
    this.at += count * size;
    return values;
  }
  u8 = (n) => this.column(n, 1, (at) => this.view.getUint8(at));
  i8 = (n) => this.column(n, 1, (at) => this.view.getInt8(at));
  u16 = (n) => this.column(n, 2, (at) => this.view.getUint16(at, true));
  i16 = (n) => this.column(n, 2, (at) => this.view.getInt16(at, true));
  u64 = (n) => this.column(n, 8, (at) => this.view.getBigUint64(at, true));
  xyz(n, read) {
    const [x, y, z] = [read(n), read(n), read(n)];
    return x.map((_, i) => [x[i], y[i], z[i]]);
  }
  blobs(sizes) {
    return sizes.map((size) => read(this.bytes.subarray(this.at, (this.at += size))));
  }
}

const add = (a, b) => a.map((_, i) => a[i] + b[i]);

export class View {
  held = new Map(); // number → { id, kind, components, tick, p, v, yaw }
  frame = 0; // the newest one applied
  tick = 0;
  own = null;

  structure([, , tick, , origin, block]) {
    const c = new Columns(block);
    const [enters, leaves, states] = c.u16(4);
    const id = c.u64(enters), number = c.u16(enters), kind = c.u16(enters);
    const p = c.xyz(enters, c.i16), v = c.xyz(enters, c.i16);
    const enterBlobs = c.u16(enters), left = c.u16(leaves), changed = c.u16(states), stateBlobs = c.u16(states);
    const age = c.u8(enters), yaw = c.u8(enters);
    for (const gone of left) this.held.delete(gone); // leaves first, then enters, then states
    c.blobs(enterBlobs).forEach((components, i) =>
      this.held.set(number[i], {
        id: id[i], kind: kind[i], components,
        tick: Number(tick) - age[i], p: add(origin.map(Number), p[i]), v: v[i], yaw: yaw[i],
      }),
    );
    c.blobs(stateBlobs).forEach((components, i) => Object.assign(this.held.get(changed[i]).components, components));
    this.tick = Number(tick);
  }

  motion([, , frame, tick, , own, origin, block]) {
    this.frame = frame;
    this.tick = Number(tick);
    if (own) this.own = ownState(own);
    if (!block) return;
    const c = new Columns(block);
    const [deltas, fulls] = c.u16(2);
    const delta = c.u16(deltas), full = c.u16(fulls);
    const p = c.xyz(fulls, c.i16), v = c.xyz(fulls, c.i16);
    const d = c.xyz(deltas, c.i8), dv = c.xyz(deltas, c.i8), deltaYaw = c.u8(deltas);
    const age = c.u8(fulls), yaw = c.u8(fulls);
    delta.forEach((number, i) => {
      const r = this.held.get(number);
      const dt = this.tick - r.tick;
      r.p = r.p.map((at, axis) => at + ((r.v[axis] * dt + 8) >> 4) + d[i][axis]);
      r.v = add(r.v, dv[i]);
      r.tick = this.tick;
      r.yaw = deltaYaw[i];
    });
    full.forEach((number, i) =>
      Object.assign(this.held.get(number), {
        tick: this.tick - age[i], p: add(origin.map(Number), p[i]), v: v[i], yaw: yaw[i],
      }),
    );
  }

  /** Where an entity is at a tick, in metres: the whole definition of what a client shows (§4). */
  static shown = (r, tick) => r.p.map((at, axis) => (16 * at + r.v[axis] * (tick - r.tick)) / 2048);
}

export function ownState(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    seq: view.getUint32(0, true), // the last command that the server has applied
    stamp: view.getUint32(4, true),
    holdMs: view.getUint16(8, true),
    at: [12, 16, 20].map((offset) => view.getInt32(offset, true) / 128),
  };
}

const clock = () => Math.trunc(performance.now()) >>> 0;

export function input(seq, frame, moveX, moveZ, steps) {
  const command = new DataView(new ArrayBuffer(8));
  command.setInt8(0, Math.round(moveX * 127));
  command.setInt8(1, Math.round(moveZ * 127));
  command.setUint8(6, steps); // yaw, pitch and buttons stay 0
  return encode([INPUT, seq, frame, clock(), new Uint8Array(command.buffer)]);
}

export const ack = (frame) => encode([ACK, frame, clock()]);

async function main(page, name) {
  const token = await guestToken(page, name);
  const socket = await connect(page);
  const view = new View();
  let welcome, begin, timer, seq = 0, ticks = 0;

  socket.on("message", (data) => {
    const message = read(data);
    switch (message[0]) {
      case WELCOME:
        welcome = message[1];
        console.log(`welcome to ${welcome.world}: body ${welcome.body}, ${welcome.rate_hz} ticks a second`);
        timer = setInterval(turn, 1000 / welcome.rate_hz);
        break;
      case STRUCTURE: view.structure(message); break;
      case FRAME: view.motion(message); begin ??= view.own?.at; break;
      case NOTICE: console.log(message[3]); break;
      case CLOSE: console.log(`closed: ${message[1]} ${message[3]}`); break;
    } // other types are ignored: there may be more of them in a later version
  });

  function turn() {
    ticks += 1;
    const walking = ticks <= 2 * welcome.rate_hz;
    socket.send(walking ? input(++seq, view.frame, 0, -1, welcome.steps_per_tick) : ack(view.frame));
    if (ticks === 3 * welcome.rate_hz) {
      const metres = Math.hypot(...view.own.at.map((at, axis) => at - begin[axis]));
      const kinds = new Map(welcome.schema.kinds);
      const seen = [...view.held.values()].filter((r) => kinds.get(r.kind) === "duck").map((r) => View.shown(r, view.tick));
      const near = Math.min(...seen.map((at) => Math.hypot(...at.map((each, axis) => each - view.own.at[axis]))));
      console.log(`walked ${metres.toFixed(1)} m; ${seen.length} ducks, the nearest ${near.toFixed(1)} m away`);
      console.log(`the server has applied command ${view.own.seq} of ${seq}`);
      socket.send(encode([BYE]));
    }
  }

  socket.send(hello(token, name));
  await new Promise((resolve) => socket.on("close", resolve));
  clearInterval(timer);
}

if (process.argv[1].endsWith("client.mjs")) await main(process.argv[2], "Visitor");
