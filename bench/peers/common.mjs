// What the peer servers and their probe share: options, the trajectory, an interest grid, the tick loop, the control lines.
// Control is as in swarm.c: a command a line on stdin, one JSON object a line on stdout with its "event".
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';

export function options() {
  const found = {};
  for (let i = 2; i + 1 < process.argv.length; i += 2) found[process.argv[i].slice(2)] = process.argv[i + 1];
  return found;
}

export function say(event, values = {}) {
  process.stdout.write(JSON.stringify({ event, ...values }) + '\n');
}

export function onCommand(commands) {
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', (line) => (commands[line] ?? (() => process.exit(0)))());
  lines.on('close', () => process.exit(0));
}

/** Reads a folder of bench/trajectory.py: float32 columns [ticks, entities] in .npy files. */
export class Trajectory {
  constructor(folder) {
    Object.assign(this, JSON.parse(fs.readFileSync(path.join(folder, 'header.json'))));
    this.columns = {};
    for (const name of ['x', 'y', 'z', 'yaw']) {
      const file = fs.readFileSync(path.join(folder, name + '.npy'));
      const start = 10 + file.readUInt16LE(8); // .npy 1.0: magic, version, length of the header, header
      this.columns[name] = new Float32Array(file.buffer.slice(file.byteOffset + start, file.byteOffset + file.length));
    }
  }

  /** One tick's x, y, z, yaw; tick t is row t mod ticks. */
  at(tick) {
    const from = (tick % this.ticks) * this.entities;
    const row = (name) => this.columns[name].subarray(from, from + this.entities);
    return { x: row('x'), y: row('y'), z: row('z'), yaw: row('yaw') };
  }
}

/** A heading as one byte. */
export const yawByte = (yaw) => Math.round((yaw / (2 * Math.PI)) * 256) & 255;

/** Entities sorted into square cells one radius wide, anew each tick; a circle touches three cells of three rows. */
export class Grid {
  constructor(entities, sideM, radiusM) {
    this.radius = radiusM;
    this.margin = radiusM; // homes fill the side; people stray from home
    this.low = -sideM / 2 - this.margin;
    this.width = Math.ceil((sideM + 2 * this.margin) / radiusM) + 2;
    this.begin = new Int32Array(this.width * this.width + 1);
    this.members = new Int32Array(entities);
    this.cells = new Int32Array(entities);
    this.found = new Int32Array(entities);
  }

  axis(v) {
    return Math.min(this.width - 2, Math.max(1, Math.floor((v - this.low) / this.radius) + 1));
  }

  sort(x, z) {
    const { begin, members, cells, width } = this;
    begin.fill(0);
    for (let i = 0; i < x.length; i++) begin[(cells[i] = this.axis(z[i]) * width + this.axis(x[i])) + 1]++;
    for (let c = 1; c < begin.length; c++) begin[c] += begin[c - 1];
    const next = (this.next ??= new Int32Array(begin.length));
    next.set(begin);
    for (let i = 0; i < x.length; i++) members[next[cells[i]]++] = i;
    this.x = x;
    this.z = z;
  }

  /** Fills `found` with the entities within the radius and returns how many they are. */
  within(px, pz) {
    const { begin, members, found, width, x, z } = this;
    const column = this.axis(px), row = this.axis(pz), limit = this.radius * this.radius;
    let n = 0;
    for (let r = row - 1; r <= row + 1; r++) {
      const end = begin[r * width + column + 2];
      for (let k = begin[r * width + column - 1]; k < end; k++) {
        const i = members[k], dx = x[i] - px, dz = z[i] - pz;
        if (dx * dx + dz * dz <= limit) found[n++] = i;
      }
    }
    return n;
  }
}

const quantile = (sorted, q) => (sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] : 0);

/** Runs tick(n) on a fixed schedule and answers the control lines of a server. A server that is half a second behind
 *  starts its schedule anew, as a game loop would. */
export function serveTicks(rateHz, tick, { clients, taken }) {
  const periodMs = 1000 / rateHz;
  let origin = 0, planned = 0, n = 0, resets = 0;
  let window = null;
  const begin = () => { window = { at: performance.now(), ticks: 0, work: [], done: [], resets, inputs: taken() }; };
  function step() {
    const due = origin + planned * periodMs;
    const started = performance.now();
    if (started < due) { setTimeout(step, due - started); return; }
    tick(n++);
    const ended = performance.now();
    planned++;
    window.ticks++;
    window.work.push(ended - started);
    window.done.push(ended - due);
    if (ended - due > 10 * periodMs) { origin = ended; planned = 0; resets++; }
    const waitMs = origin + planned * periodMs - performance.now();
    // Behind schedule: let sockets be read all the same.
    if (waitMs <= 0) setImmediate(() => setImmediate(step)); else setTimeout(step, waitMs);
  }
  begin();
  onCommand({
    start: () => { origin = performance.now(); planned = 0; setTimeout(step, 0); say('started'); },
    begin: () => { begin(); say('begun'); },
    end: () => {
      const seconds = (performance.now() - window.at) / 1000;
      for (const list of [window.work, window.done]) list.sort((a, b) => a - b);
      say('ended', {
        seconds, ticks: window.ticks, resets: resets - window.resets,
        tick_p50_s: quantile(window.work, 0.5) / 1000, tick_p99_s: quantile(window.work, 0.99) / 1000,
        done_p99_s: quantile(window.done, 0.99) / 1000, done_p999_s: quantile(window.done, 0.999) / 1000,
        inputs: taken() - window.inputs, clients: clients(),
      });
    },
  });
}
