// What nengi's server and its clients agree on: entities, messages and commands with nengi's natural types.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url); // its packages are CommonJS, and import each other as such
const { Binary, Context, defineSchema } = require('nengi');

export const CLOCK = 1, BODY = 2, MOVE = 3;
export const context = new Context();
context.register(CLOCK, defineSchema({ tick: Binary.UInt32 }));
context.register(BODY, defineSchema({
  index: Binary.UInt16, x: Binary.Float32, y: Binary.Float32, z: Binary.Float32, yaw: Binary.UInt8,
}));
context.register(MOVE, defineSchema({ seq: Binary.UInt32, stamp: Binary.UInt32, x: Binary.Int8, z: Binary.Int8 }));
