/**
 * Messages of a session other than frames, and their msgpack (STANDARD.md §2, §3).
 *
 * Invariant: `decode` throws ProtocolError and nothing else on any bytes, and returns null for an unknown type.
 * Ids of entities are bigint everywhere: they are 64 bit wide. Not responsible for: STRUCTURE and FRAME (frames.ts).
 */
import { decode as unpackAny, encode as packAny } from "@msgpack/msgpack";

import { decodeCamera, decodeChannel, decodeKeyframe, type Camera, type Channel, type Keyframe } from "./channels";
import { ProtocolError } from "./codes";
import { decodeCrowd, type Crowd } from "./crowds";
import { decodeFrame, decodeStructure, decodeValues, type Frame, type Structure, type Values } from "./frames";
import { COMMAND_BYTES, COMMAND_YAW_STEPS, MOVE_UNIT, VERSION, type Profile, type Vec3 } from "./layouts";
import { decodePoses, type Poses } from "./poses";

export type Scope = 0 | 1 | 2;
export const SCOPE_WORLD: Scope = 0;
export const SCOPE_NEAR: Scope = 1;
export const SCOPE_DIRECT: Scope = 2;

export interface Hello {
  readonly token: string | null;
  readonly name: string | null;
  readonly profile: Profile;
  readonly resume: Uint8Array | null;
  readonly schemaHash: Uint8Array | null;
  readonly agent: string;
}

/** What the keys wish for one client tick. `moveX`, `moveZ`: world axes, −1…1; yaw in radians. */
export interface Command {
  readonly moveX: number;
  readonly moveZ: number;
  readonly yaw: number;
  readonly buttons: number;
  readonly steps: number;
}

/** A command as it travels: integers, from which both ends calculate. */
export interface WireCommand {
  readonly moveX: number;
  readonly moveZ: number;
  readonly yaw: number;
  readonly buttons: number;
  readonly steps: number;
}

export interface Component {
  readonly key: number;
  readonly name: string;
  readonly scale: number | null;
}

export interface Schema {
  readonly kinds: ReadonlyMap<number, string>;
  readonly components: ReadonlyMap<number, Component>;
}

export interface Welcome {
  readonly type: "welcome";
  readonly session: bigint;
  readonly generation: number;
  readonly resume: Uint8Array;
  readonly world: string;
  readonly tick: number;
  readonly rateHz: number;
  readonly stepsPerTick: number;
  readonly body: bigint | null;
  readonly stream: number;
  readonly radiusM: number;
  readonly nearRadiusM: number;
  readonly schema: Schema | null;
  readonly schemaHash: Uint8Array;
  readonly anchor: Vec3 | null;
  readonly map: string | null;
  readonly attribution: string;
  readonly idleAckMs: number;
  readonly server: string;
  /** The newest act that the body has taken. */
  readonly acted: number;
}

export interface Answer {
  readonly type: "answer";
  readonly sseq: number;
  readonly number: number;
  /** 0: done, and `value` is the action's own; otherwise it is a text. */
  readonly code: number;
  readonly value: unknown;
}

/** Where this session may go on over datagrams (§9.1); `address` null: not here, `text` says why. */
export interface Token {
  readonly type: "token";
  readonly address: string | null;
  readonly number: number;
  readonly keyUp: Uint8Array;
  readonly text: string;
  /** SHA-256 of certificates that the address may show; none: the browser asks its authorities. */
  readonly certificates: readonly Uint8Array[];
}

export type ServerMessage =
  | Welcome
  | Structure
  | Frame
  | Values
  | Token
  | Answer
  | Channel
  | Keyframe
  | Camera
  | Poses
  | Crowd
  | {
      readonly type: "chat";
      readonly sseq: number;
      readonly scope: Scope;
      readonly from: bigint;
      readonly name: string;
      readonly text: string;
    }
  | {
      readonly type: "presence";
      readonly sseq: number;
      readonly online: number;
      readonly joined: readonly (readonly [bigint, string])[];
      readonly left: readonly bigint[];
    }
  | { readonly type: "notice"; readonly sseq: number; readonly code: number; readonly text: string }
  | {
      readonly type: "move";
      readonly sseq: number;
      readonly url: string;
      readonly ticket: Uint8Array;
      readonly withinMs: number;
    }
  | { readonly type: "schema"; readonly sseq: number; readonly schema: Schema; readonly schemaHash: Uint8Array }
  | { readonly type: "close"; readonly code: number; readonly retryAfterMs: number | null; readonly text: string }
  | {
      readonly type: "event";
      readonly sseq: number;
      readonly entity: bigint | null;
      readonly name: string;
      readonly payload: unknown;
    };

export type Chat = Extract<ServerMessage, { type: "chat" }>;
export type Presence = Extract<ServerMessage, { type: "presence" }>;

function pack(value: unknown): Uint8Array<ArrayBuffer> {
  return packAny(value, { useBigInt64: true });
}

/** One msgpack value from untrusted bytes. Throws ProtocolError. */
export function unpack(data: Uint8Array): unknown {
  try {
    return unpackAny(data, { useBigInt64: true, maxExtLength: 0 });
  } catch (error) {
    throw new ProtocolError(`not one whole msgpack value: ${String(error)}`);
  }
}

export function encodeHello(hello: Hello): Uint8Array<ArrayBuffer> {
  const { token, name, profile, resume, schemaHash, agent } = hello;
  return pack([1, VERSION, VERSION, token, name, profile, resume, schemaHash, agent]);
}

/** Rounds a wish to what travels; the prediction MUST start from this, not from the wish. */
export function toWire(command: Command): WireCommand {
  const turn = Math.round((command.yaw / (2 * Math.PI)) * COMMAND_YAW_STEPS);
  return {
    moveX: Math.round(command.moveX * MOVE_UNIT),
    moveZ: Math.round(command.moveZ * MOVE_UNIT),
    yaw: ((turn % COMMAND_YAW_STEPS) + COMMAND_YAW_STEPS) % COMMAND_YAW_STEPS,
    buttons: command.buttons,
    steps: command.steps,
  };
}

/** `seq` numbers the last command, `frame` the newest frame applied, `stampMs` is this page's clock. `earlier`: over datagrams, which
 * frames before `frame` have come (§9.4). */
export function encodeInput(
  seq: number,
  frame: number,
  stampMs: number,
  commands: readonly WireCommand[],
  earlier: bigint | null = null,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(commands.length * COMMAND_BYTES);
  const view = new DataView(bytes.buffer);
  commands.forEach((command, i) => {
    const at = i * COMMAND_BYTES;
    view.setInt8(at, command.moveX);
    view.setInt8(at + 1, command.moveZ);
    view.setUint16(at + 2, command.yaw, true);
    view.setUint8(at + 5, command.buttons);
    view.setUint8(at + 6, command.steps);
  });
  return pack([2, seq, frame, stampMs, bytes, ...(earlier === null ? [] : [earlier])]);
}

export function encodeAck(frame: number, stampMs: number, earlier: bigint | null = null): Uint8Array<ArrayBuffer> {
  return pack([3, frame, stampMs, ...(earlier === null ? [] : [earlier])]);
}

export function encodeSay(scope: Scope, text: string, to: bigint | null): Uint8Array<ArrayBuffer> {
  return pack([4, scope, text, to]);
}

/** `payload`: nil, booleans, numbers, texts, bin, arrays, maps. What is undefined becomes nil. */
export function encodeAct(number: number, name: string, payload: unknown): Uint8Array<ArrayBuffer> {
  return pack([5, number, name, payload ?? null]);
}

export function encodeBye(): Uint8Array<ArrayBuffer> {
  return pack([6]);
}

export function encodeAskDatagrams(version: number, carrier: number): Uint8Array<ArrayBuffer> {
  return pack([10, version, carrier]);
}

/** Where head and hands are: `samples` as poses.ts writes them (STANDARD.md §11). */
export function encodePose(stampMs: number, samples: Uint8Array): Uint8Array<ArrayBuffer> {
  return pack([8, stampMs, samples]);
}

/** Join a channel (null: the world's first; "": none), `behindS` seconds in the past (STANDARD.md §10). */
export function encodeWatch(name: string | null, behindS: number): Uint8Array<ArrayBuffer> {
  return pack([9, name, behindS]);
}

/** Reads one message's items in order, each with its type checked. */
export class Items {
  private at = 1;

  constructor(
    private readonly items: readonly unknown[],
    private readonly name: string,
  ) {}

  private wrong(wanted: string): ProtocolError {
    return new ProtocolError(`${this.name}: item ${this.at - 1} must be ${wanted}`);
  }

  any(): unknown {
    if (this.at >= this.items.length) throw new ProtocolError(`${this.name} has only ${this.items.length} items`);
    return this.items[this.at++];
  }

  number(): number {
    const value = this.any();
    if (typeof value === "bigint") return Number(value);
    if (typeof value !== "number") throw this.wrong("a number");
    return value;
  }

  id(): bigint {
    const value = this.any();
    if (typeof value === "bigint") return value;
    if (typeof value !== "number" || !Number.isInteger(value)) throw this.wrong("an id");
    return BigInt(value);
  }

  text(): string {
    const value = this.any();
    if (typeof value !== "string") throw this.wrong("a string");
    return value;
  }

  bin(): Uint8Array {
    const value = this.any();
    if (!(value instanceof Uint8Array)) throw this.wrong("bin");
    return value;
  }

  vec3(): Vec3 {
    const value = this.list();
    if (value.length !== 3 || !value.every((c) => typeof c === "number")) throw this.wrong("three numbers");
    return [value[0] as number, value[1] as number, value[2] as number];
  }

  list(): readonly unknown[] {
    const value = this.any();
    if (!Array.isArray(value)) throw this.wrong("an array");
    return value as unknown[];
  }

  /** The next item by `read`, or null in older messages, which do not have it. */
  last<T>(read: () => T): T | null {
    return this.at < this.items.length ? read() : null;
  }

  /** The next item by `read`, or null if it is nil. */
  optional<T>(read: () => T): T | null {
    if (this.at < this.items.length && this.items[this.at] === null) {
      this.at++;
      return null;
    }
    return read();
  }
}

/** One message of a server; null for a type this version does not know. Throws ProtocolError. */
export function decode(data: Uint8Array): ServerMessage | null {
  const items = unpack(data);
  if (!Array.isArray(items) || typeof items[0] !== "number") {
    throw new ProtocolError("a message is an array whose first item is its type");
  }
  switch (items[0]) {
    case 16:
      return welcome(items[1]);
    case 17:
      return decodeStructure(new Items(items, "STRUCTURE"));
    case 18:
      return decodeFrame(new Items(items, "FRAME"));
    case 19: {
      const r = new Items(items, "CHAT");
      return { type: "chat", sseq: r.number(), scope: scope(r.number()), from: r.id(), name: r.text(), text: r.text() };
    }
    case 20: {
      const r = new Items(items, "PRESENCE");
      return {
        type: "presence",
        sseq: r.number(),
        online: r.number(),
        joined: r.list().map(person),
        left: r.list().map(id),
      };
    }
    case 21: {
      const r = new Items(items, "NOTICE");
      return { type: "notice", sseq: r.number(), code: r.number(), text: r.text() };
    }
    case 22: {
      const r = new Items(items, "MOVE");
      return { type: "move", sseq: r.number(), url: r.text(), ticket: r.bin().slice(), withinMs: r.number() };
    }
    case 23: {
      const r = new Items(items, "SCHEMA");
      return { type: "schema", sseq: r.number(), schema: schema(r.any()), schemaHash: r.bin().slice() };
    }
    case 24: {
      const r = new Items(items, "CLOSE");
      return { type: "close", code: r.number(), retryAfterMs: r.optional(() => r.number()), text: r.text() };
    }
    case 25: {
      const r = new Items(items, "EVENT");
      return { type: "event", sseq: r.number(), entity: r.optional(() => r.id()), name: r.text(), payload: r.any() };
    }
    case 26: {
      const r = new Items(items, "ANSWER");
      return { type: "answer", sseq: r.number(), number: r.number(), code: r.number(), value: r.any() };
    }
    case 27:
      return token(new Items(items, "TOKEN"));
    case 28:
      return decodeValues(new Items(items, "VALUES"));
    case 29:
      return decodeChannel(new Items(items, "CHANNEL"));
    case 30:
      return decodeKeyframe(new Items(items, "KEYFRAME"));
    case 31:
      return decodeCamera(new Items(items, "CAMERA"));
    case 32:
      return decodePoses(new Items(items, "POSES"));
    case 33:
      return decodeCrowd(new Items(items, "CROWD"));
    default:
      return null;
  }
}

function token(r: Items): Token {
  const [address, number, keyUp] = [r.optional(() => r.text()), r.number(), r.bin().slice()];
  r.bin(); // what a server seals with over UDP
  r.number(); // for how long it is good: a page opens it at once
  const text = r.text();
  const certificates = (r.last(() => r.list()) ?? []).map((hash) => new Items([null, hash], "TOKEN").bin().slice());
  return { type: "token", address, number, keyUp, text, certificates };
}

function scope(value: number): Scope {
  if (value !== 0 && value !== 1 && value !== 2) throw new ProtocolError(`CHAT: unknown scope ${value}`);
  return value;
}

function person(value: unknown): readonly [bigint, string] {
  if (!Array.isArray(value)) throw new ProtocolError("PRESENCE: joined must hold pairs");
  const r = new Items([null, ...(value as unknown[])], "PRESENCE");
  return [r.id(), r.text()];
}

function id(value: unknown): bigint {
  return new Items([null, value], "PRESENCE").id();
}

function schema(value: unknown): Schema {
  const map = record(value, "schema");
  const kinds = new Items([null, map.kinds], "schema").list().map((pair): [number, string] => {
    const r = new Items([null, ...(pair as unknown[])], "schema");
    return [r.number(), r.text()];
  });
  const components = new Items([null, map.components], "schema").list().map((row): [number, Component] => {
    const r = new Items([null, ...(row as unknown[])], "schema");
    const [key, name] = [r.number(), r.text()];
    r.text(); // dtype and unit are for tools: a msgpack value says its own type
    r.optional(() => r.text());
    return [key, { key, name, scale: r.optional(() => r.number()) }];
  });
  return { kinds: new Map(kinds), components: new Map(components) };
}

function welcome(value: unknown): Welcome {
  const map = record(value, "WELCOME");
  const field = (key: string) => new Items([null, map[key] ?? null], `WELCOME ${key}`);
  const optional = <T>(key: string, read: (r: Items) => T): T | null => {
    const r = field(key);
    return r.optional(() => read(r));
  };
  return {
    type: "welcome",
    session: field("session").id(),
    generation: field("generation").number(),
    resume: field("resume").bin().slice(),
    world: field("world").text(),
    tick: field("tick").number(),
    rateHz: field("rate_hz").number(),
    stepsPerTick: field("steps_per_tick").number(),
    body: optional("body", (r) => r.id()),
    stream: field("stream").number(),
    radiusM: field("radius_m").number(),
    nearRadiusM: field("near_radius_m").number(),
    schema: map.schema === null || map.schema === undefined ? null : schema(map.schema),
    schemaHash: field("schema_hash").bin().slice(),
    anchor: optional("anchor", (r) => r.vec3()),
    map: optional("map", (r) => r.text()),
    attribution: field("attribution").text(),
    idleAckMs: field("idle_ack_ms").number(),
    server: field("server").text(),
    acted: field("acted").number(),
  };
}

function record(value: unknown, name: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new ProtocolError(`${name} must be a map`);
  return value as Record<string, unknown>;
}
