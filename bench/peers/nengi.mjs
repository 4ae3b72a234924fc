// nengi 2 on its uWebSockets adapter: who sees what is decided by our grid in a channel of our own (the one that comes
// with it compares each entity with each client's box); fields are its natural types (float32 metres, uint8 yaw).
import { createRequire } from 'node:module';
import { BODY, CLOCK, context } from './nengi_context.mjs';
import { Grid, Trajectory, options, say, serveTicks, yawByte } from './common.mjs';

const require = createRequire(import.meta.url);
const { Channel, Instance, NetworkEvent } = require('nengi');
const { uWebSocketsInstanceAdapter } = require('nengi-uws-instance-adapter');

const opt = options();
const motion = new Trajectory(opt.trajectory);
const count = motion.entities;
const grid = new Grid(count, motion.side_m, motion.radius_m);
const instance = new Instance(context);
instance.onConnect = async (handshake) => handshake.i;
const indexOf = new Map(); // of a user's own body
let inputs = 0;

class WithinRadius extends Channel {
  getVisibileEntities(user) { // as nengi spells it
    const own = indexOf.get(user), n = grid.within(grid.x[own], grid.z[own]), seen = new Array(n);
    for (let k = 0; k < n; k++) seen[k] = bodies[grid.found[k]].nid;
    return seen;
  }
}

const near = new WithinRadius(instance.localState);
const everywhere = new Channel(instance.localState);
instance.registerChannel(near);
instance.registerChannel(everywhere);
const clock = { nid: 0, ntype: CLOCK, tick: 0 };
everywhere.addEntity(clock);
const bodies = Array.from({ length: count }, (_, index) => ({ nid: 0, ntype: BODY, index, x: 0, y: 0, z: 0, yaw: 0 }));
bodies.forEach((body) => near.addEntity(body));
place(0);

function place(n) {
  const { x, y, z, yaw } = motion.at(n);
  for (let i = 0; i < count; i++) {
    const body = bodies[i];
    body.x = x[i];
    body.y = y[i];
    body.z = z[i];
    body.yaw = yawByte(yaw[i]);
  }
  grid.sort(x, z);
}

function listen() {
  while (!instance.queue.isEmpty()) {
    const event = instance.queue.next();
    switch (event.type) {
      case NetworkEvent.UserConnected:
        event.user.lastReceivedClientTick = 0; // else a step throws until the client has said one
        indexOf.set(event.user.id, event.payload);
        near.subscribe(event.user);
        everywhere.subscribe(event.user);
        break;
      case NetworkEvent.UserDisconnected:
        indexOf.delete(event.user.id);
        break;
      case NetworkEvent.Command:
        inputs++;
        break;
    }
  }
}

function tick(n) {
  listen();
  place(n);
  clock.tick = n;
  instance.step();
}

const adapter = new uWebSocketsInstanceAdapter(instance.network, {});
adapter.listen(+opt.port, () => say('listening'));
// Joins are taken while the schedule does not run yet, too.
setInterval(listen, 50);
serveTicks(motion.rate_hz, tick, { clients: () => indexOf.size, taken: () => inputs });
