// Clients that decode everything and compare it with the truth in each tick. --peer colyseus or nengi (official client
// libraries), hand (the binary form of hand.mjs and hand.py); --clients probes, which are the clients 0..n-1; each sends ten inputs a second too.
//
// Wrong is: an entity within the radius that is not there, one that is there and is not within the radius, a position
// that is off by more than 1 cm, a yaw that is not the truth's, a tick that never came.
import { Trajectory, onCommand, options, say, yawByte } from './common.mjs';

const ERROR_M = 0.01;
const opt = options();
const motion = new Trajectory(opt.trajectory);
const url = `127.0.0.1:${opt.port}`;

class Check {
  constructor(index) {
    this.index = index;
    this.lastTick = -1;
    this.reset();
  }

  reset() {
    Object.assign(this, { ticks: 0, pairs: 0, violations: 0, first: null, errorMax: 0 });
  }

  wrong(what) {
    this.violations++;
    this.first ??= what;
  }

  /** `size` entities are shown; `shown(i)` is entity i as [x, y, z, yaw], or undefined. */
  tick(tick, size, shown) {
    if (this.lastTick >= 0 && tick !== this.lastTick + 1) this.wrong(`tick ${tick} came after ${this.lastTick}`);
    this.lastTick = tick;
    const { x, y, z, yaw } = motion.at(tick);
    const px = x[this.index], pz = z[this.index], limit = motion.radius_m ** 2;
    let within = 0;
    for (let i = 0; i < motion.entities; i++) {
      const dx = x[i] - px, dz = z[i] - pz;
      if (dx * dx + dz * dz > limit) continue;
      within++;
      const body = shown(i);
      if (!body) { this.wrong(`tick ${tick}: entity ${i} is missing`); continue; }
      const error = Math.hypot(body[0] - x[i], body[1] - y[i], body[2] - z[i]);
      this.errorMax = Math.max(this.errorMax, error);
      if (error > ERROR_M) this.wrong(`tick ${tick}: entity ${i} is off by ${error.toFixed(4)} m`);
      if (body[3] !== yawByte(yaw[i])) this.wrong(`tick ${tick}: entity ${i} looks elsewhere`);
    }
    if (within !== size) this.wrong(`tick ${tick}: ${size} entities are shown, ${within} are there`);
    this.ticks++;
    this.pairs += within;
  }
}

/** Calls send(seq, stamp) ten times a second. */
function sendInputs(send) {
  let seq = 0;
  const begun = performance.now();
  setInterval(() => send(++seq, Math.round(performance.now() - begun)), 100);
}

async function joinColyseus(check) {
  const { Client } = await import('@colyseus/sdk');
  const room = await new Client(`http://${url}`).joinOrCreate('world', { i: check.index });
  room.onStateChange((state) => {
    if (!state.bodies?.size) return;
    const shown = (i) => { const b = state.bodies.get(String(i)); return b && [b.x, b.y, b.z, b.yaw]; };
    check.tick(state.tick, state.bodies.size, shown);
  });
  sendInputs((seq, stamp) => {
    const input = Buffer.alloc(24);
    input.writeUInt32BE(seq, 0);
    input.writeUInt32BE(stamp, 4);
    room.sendBytes('i', input);
  });
}

async function joinHand(check) {
  const { default: WebSocket } = await import('ws');
  const ws = new WebSocket(`ws://${url}/?i=${check.index}`, { perMessageDeflate: false });
  const bodies = new Map();
  await new Promise((resolve, reject) => {
    ws.on('error', reject);
    ws.on('message', (data) => {
      if (data[0] === 1) { resolve(); return; }
      const tick = data.readUInt32LE(1);
      const ox = data.readInt32LE(9), oy = data.readInt32LE(13), oz = data.readInt32LE(17);
      const leaves = data.readUInt16LE(21), records = data.readUInt16LE(23);
      let p = 25;
      for (let k = 0; k < leaves; k++, p += 2) bodies.delete(data.readUInt16LE(p));
      for (let k = 0; k < records; k++, p += 9) {
        bodies.set(data.readUInt16LE(p), [
          (ox + data.readInt16LE(p + 2)) / 100, (oy + data.readInt16LE(p + 4)) / 100, (oz + data.readInt16LE(p + 6)) / 100,
          data[p + 8],
        ]);
      }
      check.tick(tick, bodies.size, (i) => bodies.get(i));
    });
  });
  sendInputs((seq, stamp) => {
    const input = Buffer.alloc(27);
    input[0] = 2;
    input.writeUInt32LE(seq, 1);
    input.writeUInt32LE(stamp, 9);
    ws.send(input);
  });
}

async function joinNengi(check) {
  const { join } = await import('./nengi_client.mjs');
  const shown = (bodies) => (i) => { const b = bodies.get(i); return b && [b.x, b.y, b.z, b.yaw]; };
  sendInputs(await join(`ws://${url}`, check.index, (tick, bodies) => check.tick(tick, bodies.size, shown(bodies))));
}

const join = { colyseus: joinColyseus, nengi: joinNengi, hand: joinHand }[opt.peer];
const checks = Array.from({ length: +opt.clients }, (_, i) => new Check(i));
for (const check of checks) await join(check);
say('ready');
onCommand({
  begin: () => { checks.forEach((c) => c.reset()); say('begun'); },
  end: () => say('ended', {
    probes: checks.length,
    ticks: checks.reduce((n, c) => n + c.ticks, 0),
    ticks_min: Math.min(...checks.map((c) => c.ticks)),
    pairs: checks.reduce((n, c) => n + c.pairs, 0),
    violations: checks.reduce((n, c) => n + c.violations, 0),
    first_violation: checks.find((c) => c.first)?.first ?? null,
    error_max_m: Math.max(...checks.map((c) => c.errorMax)),
  }),
});
