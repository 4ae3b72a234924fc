// A server written by hand for this one job: an interest grid, and 9-byte quantised records packed into one Buffer for
// each client and tick. --transport ws (npm ws) or uws (uWebSockets.js). All numbers little-endian.
//
// To client:  [1][u16 index], then each tick
//             [2][u32 tick][u32 last input][i32 ox oy oz cm][u16 leaves][u16 records][u16 leave...][records...]
//             record: u16 index, i16 dx dy dz cm from the origin (the client's own body), u8 yaw
// From client: [2][u32 seq][u32 tick seen][u32 stamp][command of 8 bytes][6 bytes]
import { Grid, Trajectory, options, say, serveTicks, yawByte } from './common.mjs';

const HEAD = 25, RECORD = 9, INPUT = 27;
const opt = options();
const motion = new Trajectory(opt.trajectory);
const count = motion.entities;
const grid = new Grid(count, motion.side_m, motion.radius_m);
const clients = new Set();
const cm = { x: new Int32Array(count), y: new Int32Array(count), z: new Int32Array(count), yaw: new Uint8Array(count) };
let inputs = 0;

class Viewer {
  constructor(index, send) {
    this.index = index;
    this.send = send;
    this.seenAt = new Int32Array(count).fill(-1); // the tick in which an entity was last in view
    this.known = new Int32Array(0);
    this.seq = 0;
    this.moveX = 0;
    this.moveZ = 0;
    const hello = Buffer.alloc(3);
    hello[0] = 1;
    hello.writeUInt16LE(index, 1);
    send(hello);
  }

  input(data) {
    if (data.length !== INPUT || data[0] !== 2) return;
    const seq = data.readUInt32LE(1);
    if (seq === this.seq) return;
    this.seq = seq;
    this.moveX = data.readInt8(13);
    this.moveZ = data.readInt8(14);
    inputs++;
  }

  update(tick) {
    const own = this.index;
    const n = grid.within(grid.x[own], grid.z[own]);
    const now = grid.found.slice(0, n);
    for (let k = 0; k < n; k++) this.seenAt[now[k]] = tick;
    let leaves = 0;
    for (const i of this.known) if (this.seenAt[i] !== tick) leaves++;
    const out = Buffer.allocUnsafe(HEAD + 2 * leaves + RECORD * n);
    const ox = cm.x[own], oy = cm.y[own], oz = cm.z[own];
    out[0] = 2;
    out.writeUInt32LE(tick, 1);
    out.writeUInt32LE(this.seq, 5);
    out.writeInt32LE(ox, 9);
    out.writeInt32LE(oy, 13);
    out.writeInt32LE(oz, 17);
    out.writeUInt16LE(leaves, 21);
    out.writeUInt16LE(n, 23);
    let p = HEAD;
    if (leaves) {
      for (const i of this.known) {
        if (this.seenAt[i] === tick) continue;
        out[p++] = i;
        out[p++] = i >> 8;
      }
    }
    for (let k = 0; k < n; k++) {
      const i = now[k], dx = cm.x[i] - ox, dy = cm.y[i] - oy, dz = cm.z[i] - oz;
      out[p] = i;
      out[p + 1] = i >> 8;
      out[p + 2] = dx;
      out[p + 3] = dx >> 8;
      out[p + 4] = dy;
      out[p + 5] = dy >> 8;
      out[p + 6] = dz;
      out[p + 7] = dz >> 8;
      out[p + 8] = cm.yaw[i];
      p += RECORD;
    }
    this.known = now;
    this.send(out);
  }
}

function tick(n) {
  const { x, y, z, yaw } = motion.at(n);
  for (let i = 0; i < count; i++) {
    cm.x[i] = Math.round(x[i] * 100);
    cm.y[i] = Math.round(y[i] * 100);
    cm.z[i] = Math.round(z[i] * 100);
    cm.yaw[i] = yawByte(yaw[i]);
  }
  grid.sort(x, z);
  for (const viewer of clients) viewer.update(n);
}

if (opt.transport === 'uws') {
  const { default: uws } = await import('uWebSockets.js');
  uws.App().ws('/*', {
    maxBackpressure: 1 << 20,
    upgrade: (res, req, context) => res.upgrade(
      { index: +req.getQuery('i') }, req.getHeader('sec-websocket-key'), req.getHeader('sec-websocket-protocol'),
      req.getHeader('sec-websocket-extensions'), context),
    open: (ws) => { ws.viewer = new Viewer(ws.index, (data) => { if (ws.send(data, true) === 2) ws.close(); }); clients.add(ws.viewer); },
    message: (ws, data) => ws.viewer.input(Buffer.from(data)),
    close: (ws) => clients.delete(ws.viewer),
  }).listen('127.0.0.1', +opt.port, (socket) => { if (socket) say('listening'); else process.exit(1); });
} else {
  const { WebSocketServer } = await import('ws');
  const server = new WebSocketServer({ host: '127.0.0.1', port: +opt.port, perMessageDeflate: false });
  server.on('listening', () => say('listening'));
  server.on('connection', (ws, request) => {
    const viewer = new Viewer(+new URL(request.url, 'http://x').searchParams.get('i'), (data) => ws.send(data));
    clients.add(viewer);
    ws.on('message', (data) => viewer.input(data));
    ws.on('close', () => clients.delete(viewer));
  });
}
serveTicks(motion.rate_hz, tick, { clients: () => clients.size, taken: () => inputs });
