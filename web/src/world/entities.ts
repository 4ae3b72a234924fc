/**
 * What is seen of others: the records of the stream, made smooth.
 *
 * An entity is shown at its standard position (records.ts) for the present tick plus an offset. When a record changes, the offset
 * takes up the difference, so that what is shown goes on without a jump, and then fades. Offsets are kept by id: over a new stream
 * (MOVE, resume) an entity that enters again goes on from where it was shown. Told the tick; asks for no time.
 * Not responsible for: drawing, the own body (net/predict.ts).
 */
import { ProtocolError } from "../protocol/codes";
import type { Frame, Structure, Values } from "../protocol/frames";
import type { Vec3 } from "../protocol/layouts";
import type { Schema } from "../protocol/messages";
import { Records } from "../protocol/records";
import { ValueRecords } from "../protocol/values";

/** Kinds that are shown as people. */
const PEOPLE: ReadonlySet<string> = new Set(["person", "inhabitant"]);
const FADE_S = 0.1;
const TURN_S = 0.08;
/** Farther than this an entity has been put somewhere else, and is shown there at once. */
const SNAP_M = 4;
/** How long a stream that ended keeps its entities' places for the next one. */
const FORMER_TICKS_MAX = 40;

export interface Entity {
  readonly id: bigint;
  readonly number: number;
  readonly kind: number;
  /** Metres; shown. */
  x: number;
  y: number;
  z: number;
  yaw: number;
  /** Metres per second over the ground, as shown; for the gait. */
  speed: number;
  /** Metres walked: the phase of the gait. */
  walked: number;
  offset: [number, number, number];
  /** Where it is in `all`. */
  index: number;
}

export class Entities {
  records: Records = new Records();
  private readonly list: Entity[] = [];
  private readonly byNumber = new Map<number, Entity>();
  private readonly byId = new Map<bigint, Entity>();
  private former = new Map<bigint, Entity>();
  private formerUntilTick: number | null = null;
  private schema: Schema | null = null;
  private keys = new Map<string, number>();
  private shownTick = 0;

  /** In no order. */
  get all(): readonly Entity[] {
    return this.list;
  }

  get count(): number {
    return this.list.length;
  }

  find(id: bigint): Entity | null {
    return this.byId.get(id) ?? null;
  }

  /** A new stream begins. `schema` null: the one held is right. `overDatagrams`: it has VALUES instead of FRAMEs. */
  begin(schema: Schema | null, overDatagrams = false): void {
    this.keep();
    this.records = overDatagrams ? new ValueRecords() : new Records();
    if (schema !== null) this.describe(schema);
  }

  /** A changed schema: all entities will enter again. */
  reschema(schema: Schema): void {
    this.keep();
    this.records.clear();
    this.describe(schema);
  }

  /** The stream begins anew behind structure message `sseq` and a frame; who enters again goes on from where they were shown. */
  rebegin(sseq: number, frame: number): void {
    this.keep();
    this.records = new Records();
    this.records.sseq = sseq;
    this.records.frame = frame;
  }

  private keep(): void {
    this.former = new Map(this.byId);
    this.formerUntilTick = null;
    this.byNumber.clear();
    this.byId.clear();
    this.list.length = 0;
  }

  structure(s: Structure): void {
    this.records.applyStructure(
      s,
      (number) => {
        this.leave(number);
      },
      (number) => {
        this.enter(number);
      },
    );
  }

  frame(f: Frame): void {
    this.smoothly((onChange) => {
      this.records.applyFrame(f, onChange);
    });
  }

  /** VALUES came; returns whether they count as come. */
  values(f: Values): boolean {
    const { records } = this;
    if (!(records instanceof ValueRecords)) throw new ProtocolError("VALUES, where values come as FRAMEs");
    return this.smoothly((onChange) => records.heard(f, onChange));
  }

  /** Structure came; VALUES may have waited for it. */
  release(): void {
    const { records } = this;
    if (!(records instanceof ValueRecords) || records.waiting === 0) return;
    this.smoothly((onChange) => {
      records.release(onChange);
    });
  }

  /** What is named as applied: the newest frame, and over datagrams which before it have come. */
  get applied(): readonly [number, bigint | null] {
    const { records } = this;
    if (records instanceof ValueRecords) return [records.arrivals.newest, records.arrivals.earlier];
    return [records.frame, null];
  }

  /** Whether nothing that came is ahead of `frame`. */
  isNewest(frame: number): boolean {
    return !(this.records instanceof ValueRecords) || this.records.arrivals.isNewest(frame);
  }

  /** Let `change` change records; what that moves is taken up by offsets. */
  private smoothly<T>(change: (onChange: (number: number) => void) => T): T {
    const { records } = this;
    const tick = this.shownTick;
    const before = new Map<number, Vec3>();
    const result = change((number) => {
      if (!before.has(number)) before.set(number, records.shown(number, tick));
    });
    for (const [number, old] of before) {
      const entity = this.byNumber.get(number);
      if (entity === undefined) continue;
      const now = records.shown(number, tick);
      takeUp(entity, [old[0] - now[0], old[1] - now[1], old[2] - now[2]]);
    }
    return result;
  }

  /** Go on to `tick` (a real number), `dtS` seconds after the last time. */
  advance(tick: number, dtS: number): void {
    this.shownTick = tick;
    this.formerUntilTick ??= tick + FORMER_TICKS_MAX;
    if (this.former.size > 0 && tick > this.formerUntilTick) this.former.clear();
    const keep = Math.exp(-dtS / FADE_S);
    const turn = 1 - Math.exp(-dtS / TURN_S);
    for (const entity of this.list) {
      const { offset, number } = entity;
      offset[0] *= keep;
      offset[1] *= keep;
      offset[2] *= keep;
      const x = this.records.shownAxis(number, 0, tick) + offset[0];
      const y = this.records.shownAxis(number, 1, tick) + offset[1];
      const z = this.records.shownAxis(number, 2, tick) + offset[2];
      const moved = Math.hypot(x - entity.x, z - entity.z);
      entity.speed = dtS > 0 ? entity.speed + (moved / dtS - entity.speed) * Math.min(1, 8 * dtS) : entity.speed;
      entity.walked += moved;
      entity.x = x;
      entity.y = y;
      entity.z = z;
      entity.yaw += angle(this.records.yawOf(number) - entity.yaw) * turn;
    }
  }

  /** Metres from (x, z) to the farthest person. */
  farthestPersonM(x: number, z: number): number {
    const people = this.list.filter((entity) => this.isPerson(entity.kind));
    return people.reduce((most, entity) => Math.max(most, Math.hypot(entity.x - x, entity.z - z)), 0);
  }

  kindName(kind: number): string {
    return this.schema?.kinds.get(kind) ?? `kind ${kind}`;
  }

  isPerson(kind: number): boolean {
    return PEOPLE.has(this.kindName(kind));
  }

  /** The component `name` of an entity; empty if it has none. */
  nameOf(number: number): string {
    const value = this.component(number, "name");
    return typeof value === "string" ? value : "";
  }

  /** The component `colour`, by which an author chooses among the page's colours; null if it has none. */
  colourOf(number: number): number | null {
    const value = this.component(number, "colour");
    return typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : null;
  }

  /** Whether it is something that hands can take (docs/VR.md). */
  isHoldable(number: number): boolean {
    return this.component(number, "held_by") !== undefined;
  }

  /** Who has it in a hand; null: nobody. */
  holderOf(number: number): bigint | null {
    const value = this.component(number, "held_by");
    if (typeof value === "bigint") return value;
    return typeof value === "number" && value > 0 ? BigInt(value) : null;
  }

  /** The component `name` of an entity; undefined if it has none. */
  component(number: number, name: string): unknown {
    const key = this.keys.get(name);
    return key === undefined ? undefined : this.records.components.get(number)?.get(key);
  }

  /** All components by name; ids of 64 bits as texts. */
  componentsOf(number: number): Record<string, unknown> {
    const values = [...this.keys].map(([name]): [string, unknown] => [name, this.component(number, name)]);
    const known = values.filter(([, value]) => value !== undefined);
    return Object.fromEntries(known.map(([name, value]) => [name, typeof value === "bigint" ? `${value}` : value]));
  }

  /** What kinds and components are called from now on. */
  describe(schema: Schema): void {
    this.schema = schema;
    this.keys = new Map([...schema.components.values()].map((component) => [component.name, component.key]));
  }

  private enter(number: number): void {
    const { records } = this;
    const id = records.id[number] ?? 0n;
    const [x, y, z] = records.shown(number, this.shownTick);
    const kind = records.kind[number] ?? 0;
    const entity: Entity = {
      id,
      number,
      kind,
      x,
      y,
      z,
      yaw: records.yawOf(number),
      speed: 0,
      walked: 0,
      offset: [0, 0, 0],
      index: this.list.length,
    };
    const former = this.former.get(id);
    if (former !== undefined) {
      this.former.delete(id);
      takeUp(entity, [former.x - x, former.y - y, former.z - z]);
      [entity.yaw, entity.walked, entity.speed] = [former.yaw, former.walked, former.speed];
      [entity.x, entity.y, entity.z] = [x + entity.offset[0], y + entity.offset[1], z + entity.offset[2]];
    }
    this.byNumber.set(number, entity);
    this.byId.set(id, entity);
    this.list.push(entity);
  }

  private leave(number: number): void {
    const entity = this.byNumber.get(number);
    if (entity === undefined) return;
    this.byNumber.delete(number);
    this.byId.delete(entity.id);
    const last = this.list.pop();
    if (last === undefined || last === entity) return;
    this.list[entity.index] = last;
    last.index = entity.index;
  }
}

function takeUp(entity: Entity, difference: Vec3): void {
  const sum: [number, number, number] = [
    entity.offset[0] + difference[0],
    entity.offset[1] + difference[1],
    entity.offset[2] + difference[2],
  ];
  entity.offset = Math.hypot(...sum) > SNAP_M ? [0, 0, 0] : sum;
}

/** An angle as its equal within ±π. */
function angle(a: number): number {
  return a - 2 * Math.PI * Math.round(a / (2 * Math.PI));
}
