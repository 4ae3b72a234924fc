// nengi's official client for the probe; and, called by itself, what the swarm says in its place:
//   nengi_client.mjs --first F --clients N --hellos FILE   writes N handshakes (u16 length and bytes), prints an input
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { BODY, MOVE, context } from './nengi_context.mjs';
import { options } from './common.mjs';

const require = createRequire(import.meta.url);
const { Client } = require('nengi');
const { WsClientAdapter } = require('nengi-ws-client-adapter');
const { BufferWriter } = require('nengi-buffers');

const made = () => new Client(context, WsClientAdapter, 20);

/** Connects as client `index`; `show(tick, bodies)` is called after each snapshot. Returns send(seq, stamp). */
export async function join(url, index, show) {
  const client = made(), entities = new Map(), bodies = new Map();
  const { network } = client;
  let clock = null;
  const read = network.readSnapshot.bind(network);
  network.readSnapshot = (reader) => {
    read(reader);
    network.messages.length = 0;
    for (const snapshot of network.snapshots) {
      for (const entity of snapshot.createEntities) {
        entities.set(entity.nid, entity);
        if (entity.ntype === BODY) bodies.set(entity.index, entity); else clock = entity;
      }
      for (const { nid, prop, value } of snapshot.updateEntities) entities.get(nid)[prop] = value;
      for (const nid of snapshot.deleteEntities) {
        bodies.delete(entities.get(nid).index);
        entities.delete(nid);
      }
    }
    network.snapshots.length = 0;
    if (clock && bodies.size) show(clock.tick, bodies);
  };
  await client.connect(url, { i: index });
  return (seq, stamp) => {
    client.addCommand(command(seq, stamp));
    client.flush();
  };
}

const command = (seq, stamp) => ({ ntype: MOVE, seq, stamp, x: 0, z: 0 });

function writeHellos({ first, clients, hellos }) {
  const records = Array.from({ length: +first + +clients }, (_, i) => {
    const hello = i < +first ? Buffer.alloc(0) : made().network.createHandshakeBuffer({ i }, BufferWriter);
    const size = Buffer.alloc(2);
    size.writeUInt16LE(hello.length);
    return Buffer.concat([size, hello]);
  });
  fs.writeFileSync(hellos, Buffer.concat(records));
  const client = made();
  client.addCommand(command(1, 1));
  process.stdout.write(client.network.createOutboundBuffer(BufferWriter).toString('hex') + '\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeHellos(options());
