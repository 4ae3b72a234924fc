/** Numbers and units that both ends share (STANDARD.md §1, §2, §4). */

export const VERSION = 1;
export const SUBPROTOCOL = "isthmus.v1";

/** Grid units in a metre. */
export const GRID_PER_M = 128;
/** Velocity units in one grid unit per tick. */
export const VELOCITY_PER_GRID = 16;
/** Denominator of the shown position: (16·p + v·dt) / 2048 metres. */
export const SHOWN_PER_M = GRID_PER_M * VELOCITY_PER_GRID;
export const YAW_STEPS = 256;
export const COMMAND_YAW_STEPS = 65536;
export const MOVE_UNIT = 127;

export const BUTTON_RUN = 1;
export const BUTTON_JUMP = 2;
export const COMMAND_BYTES = 8;
export const COMMANDS_PER_INPUT_MAX = 8;

export const OWN_BYTES = 32;
export const OWN_ON_GROUND = 1;
export const OWN_MOVED = 2;

export const NAME_CHARS_MAX = 32;
export const CHAT_CHARS_MAX = 500;
/** Acts of one session that are not answered yet (STANDARD.md §8). */
export const ACTS_UNANSWERED_MAX = 16;

/** An entity's number is below this (STANDARD.md §4). */
export const NUMBERS_MAX = 1024;

/** Classes of devices, by which a server decides what a client is told (docs/DEVICES.md). */
export type Profile = "vr" | "desktop" | "tv";

/** A point or vector: x, y, z. */
export type Vec3 = readonly [number, number, number];

/** `a` after `b` in u32 serial arithmetic (RFC 1982): a − b as a signed 32-bit number. */
export function serialDistance(a: number, b: number): number {
  return (a - b) | 0;
}
