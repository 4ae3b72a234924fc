// Colyseus with its StateView: who sees what is decided by our grid (Colyseus has none) and told by view.add and
// view.remove; fields are its natural types (float32 metres, uint8 yaw). --transport ws or uws.
// Patches are sent from the same fixed schedule as the other peers' ticks (patchRate = null, broadcastPatch()).
// --steered n: the plane is flat, and clients' bodies 0..n-1 walk and look as their clients' newest inputs say, from the
// next tick on; without it inputs move nothing.
import { Room, Server, matchMaker } from '@colyseus/core';
import { Encoder, StateView, schema, t } from '@colyseus/schema';
import { Grid, Trajectory, options, say, serveTicks, yawByte } from './common.mjs';

const opt = options();
const motion = new Trajectory(opt.trajectory);
const count = motion.entities;
const steered = +(opt.steered ?? 0);
const WALK_M_S = 1.6, PAIR_M = 4, GOLDEN_ANGLE = 2.4;
const grid = new Grid(count, motion.side_m, motion.radius_m);
Encoder.BUFFER_SIZE = 2 * 1024 * 1024;

const Body = schema({ x: t.float32(), y: t.float32(), z: t.float32(), yaw: t.uint8() }, 'Body');
const World = schema({ tick: t.uint32(), bodies: t.map(Body).view() }, 'World');
let room = null, inputs = 0;

class WorldRoom extends Room {
  maxClients = 100_000;
  patchRate = null;
  autoDispose = false;
  seatReservationTimeout = 120;

  onCreate() {
    room = this;
    this.state = new World();
    this.viewers = [];
    this.bodies = Array.from({ length: count }, () => new Body());
    place(this, 0);
    this.bodies.forEach((body, i) => this.state.bodies.set(String(i), body));
    this.onMessageBytes('i', (client, data) => {
      const viewer = client.userData;
      viewer.seq = data[0] << 24 | data[1] << 16 | data[2] << 8 | data[3];
      viewer.moveX = data[8] << 24 >> 24;
      viewer.moveZ = data[9] << 24 >> 24;
      viewer.yaw = data[11];
      inputs++;
    });
  }

  onJoin(client, given) {
    client.view = new StateView();
    client.userData = { index: given.i, known: new Int32Array(0), seenAt: new Int32Array(count).fill(-1), seq: 0 };
    Object.assign(client.userData, { moveX: 0, moveZ: 0, yaw: 0 });
    this.viewers.push(client);
  }

  onLeave(client) {
    this.viewers.splice(this.viewers.indexOf(client), 1);
  }
}

// Where people are who walk. The first --marked of them are in pairs, as worlds/latency.py has them.
const walked = motion.at(0);
for (const name of ['x', 'z']) walked[name] = walked[name].slice(0, steered);
for (let i = 0; i < +(opt.marked ?? 0); i++) {
  const angle = GOLDEN_ANGLE * (i >> 1), ring = motion.side_m / 4;
  walked.x[i] = ring * Math.cos(angle) + PAIR_M * (i & 1);
  walked.z[i] = ring * Math.sin(angle);
}

function walk(world, at) {
  const side = motion.side_m / 2, step = WALK_M_S / motion.rate_hz / 127, { x, z } = walked;
  for (const { userData: { index: i, moveX, moveZ, yaw } } of world.viewers) {
    x[i] = Math.min(side, Math.max(-side, x[i] + moveX * step));
    z[i] = Math.min(side, Math.max(-side, z[i] + moveZ * step));
    at.yaw[i] = yaw * 2 * Math.PI / 256;
  }
  at.x.set(x);
  at.z.set(z);
  at.y.fill(0);
}

function place(world, n) {
  const at = motion.at(n), { x, y, z, yaw } = at;
  if (steered) walk(world, at);
  for (let i = 0; i < count; i++) {
    const body = world.bodies[i];
    body.x = x[i];
    body.y = y[i];
    body.z = z[i];
    body.yaw = yawByte(yaw[i]);
  }
  grid.sort(x, z);
}

function tick(n) {
  room.state.tick = n;
  place(room, n);
  for (const client of room.viewers) {
    const viewer = client.userData, { seenAt, known } = viewer;
    const now = grid.found.slice(0, grid.within(grid.x[viewer.index], grid.z[viewer.index]));
    // Known entities carry the tick before this one; all others are new.
    for (const i of now) {
      if (seenAt[i] !== n - 1 || n === 0) client.view.add(room.bodies[i]);
      seenAt[i] = n;
    }
    for (const i of known) {
      if (seenAt[i] === n) continue;
      client.view.remove(room.bodies[i]);
      seenAt[i] = -1;
    }
    viewer.known = now;
  }
  room.broadcastPatch();
}

let transport;
if (opt.transport === 'uws') {
  const { uWebSocketsTransport } = await import('@colyseus/uwebsockets-transport');
  transport = new uWebSocketsTransport({});
} else {
  const { WebSocketTransport } = await import('@colyseus/ws-transport');
  transport = new WebSocketTransport({});
}
const server = new Server({ transport, greet: false, gracefullyShutdown: false });
server.define('world', WorldRoom);
await server.listen(+opt.port, '127.0.0.1');
await matchMaker.createRoom('world', {});
say('listening');
serveTicks(motion.rate_hz, tick, { clients: () => room.clients.length, taken: () => inputs });
