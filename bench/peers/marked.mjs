// Clients of Colyseus whose inputs are marked, as bench/marked.py has them for our server: official client library, and
// --plans, a JSON file with each client's marks. A mark goes out at once; while a client walks, and until half a second
// after, it says twenty times a second what it does.
import fs from 'node:fs';
import { Client } from '@colyseus/sdk';
import { onCommand, options, say } from './common.mjs';

const RATE_HZ = 20, REST_MS = 500, GRACE_MS = 1000, MOVE = 127;
const opt = options();
const plans = JSON.parse(fs.readFileSync(opt.plans));
const clients = [];

class Marked {
  constructor(index, room) {
    Object.assign(this, { index, room, seq: 0, yaw: 0, walks: false, quietAt: 0, waits: null, done: [], visible: 0 });
    room.onStateChange((state) => this.heard(state));
    setInterval(() => { if (performance.now() < this.quietAt) this.send(); }, 1000 / RATE_HZ);
  }

  /** Is the mark of the other one of the pair to be seen now? */
  heard(state) {
    this.visible = (state.bodies?.size ?? 1) - 1;
    const partner = clients[this.index ^ 1], waits = partner?.waits;
    if (!waits || state.bodies.get(String(partner.index))?.yaw !== waits.yaw) return;
    waits.seen = performance.now();
    partner.waits = null;
  }

  send() {
    const input = Buffer.alloc(24), angle = this.yaw * 2 * Math.PI / 256, speed = this.walks ? -MOVE : 0;
    input.writeUInt32BE(++this.seq, 0);
    input.writeInt8(Math.round(Math.sin(angle) * speed), 8);
    input.writeInt8(Math.round(Math.cos(angle) * speed), 9);
    input[11] = this.yaw;
    this.room.sendBytes('i', input);
  }

  mark({ kind, walks, yaw }) {
    this.waits = { kind, yaw, seen: NaN, sent: performance.now() };
    Object.assign(this, { walks, yaw, quietAt: walks ? Infinity : performance.now() + REST_MS });
    this.done.push(this.waits);
    this.send();
  }
}

async function join() {
  const coming = [];
  for (let i = 0; i < plans.length; i++) {
    coming.push(new Client(`http://127.0.0.1:${opt.port}`).joinOrCreate('world', { i }));
    await new Promise((resolve) => setTimeout(resolve, 1000 * opt['join-s'] / plans.length));
  }
  for (let i = 0; i < plans.length; i++) clients.push(new Marked(i, await coming[i]));
  say('ready');
}

function end() {
  // In JSON a mark that was never seen has null.
  const marks = clients.flatMap((c) => c.done.map((m) => ({ kind: m.kind, delay_ms: m.seen - m.sent, asked_ms: m.seen - m.sent })));
  say('ended', { visible: clients.reduce((sum, c) => sum + c.visible, 0) / clients.length, losses: 0, marks });
}

say('prepared');
onCommand({
  join,
  begin: () => {
    for (const client of clients) for (const mark of plans[client.index]) setTimeout(() => client.mark(mark), mark.at_s * 1000);
    setTimeout(end, opt.seconds * 1000 + GRACE_MS);
  },
});
