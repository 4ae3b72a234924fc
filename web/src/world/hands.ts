/**
 * What the own hands hold, shown before the server has decided, and what they could take or press (docs/VR.md, "Things").
 *
 * A grab is an act; it is answered within a round trip. Until then the thing is shown in the hand; if somebody else was first it goes back
 * to where the server shows it. A thing across a border is answered "not decided yet"; an event decides. Invariants: a hand holds one
 * thing and a thing is in one hand; what was refused or lost is in no hand. Not responsible for: saying acts (net/session.ts).
 */
import { LEFT, PART_STRIDE, RIGHT, type Pose } from "../protocol/poses";
import type { Entities, Entity } from "./entities";

/** A server gives a hand that much more for the time that it is ahead of what is known of it. */
export const REACH_M = 0.35;

export interface Act {
  readonly name: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

const DOUBT_MAX_S = 3;
const NAMES = ["", "left", "right"] as const;

export class HeldThings {
  private readonly things: (bigint | null)[] = [null, null, null];
  private readonly doubtS = [0, 0, 0];
  private readonly undecided = new Map<bigint, number>();

  /** The thing that is to be shown in `hand` (LEFT, RIGHT). */
  holds(hand: number): bigint | null {
    return this.things[hand] ?? null;
  }

  /** Reach for a thing. Tell `answered` what came of it. */
  grab(thing: bigint, hand: number): Act {
    for (const other of [LEFT, RIGHT]) if (this.things[other] === thing) this.things[other] = null;
    this.things[hand] = thing;
    return { name: "grab", payload: { thing, hand: NAMES[hand] } };
  }

  /** Let go; null if the hand is empty, here and as the world has it. */
  release(hand: number, entities: Entities, body: bigint): Act | null {
    const isHeldThere = (number: number) =>
      entities.holderOf(number) === body && entities.component(number, "held_hand") === hand;
    if (this.holds(hand) === null && !entities.all.some(({ number }) => isHeldThere(number))) return null;
    this.things[hand] = null;
    return { name: "release", payload: { hand: NAMES[hand] } };
  }

  /** The answer to a grab: `done` false: it was refused or lost. */
  answered(thing: bigint, hand: number, done: boolean, value: unknown): void {
    if (!done) this.drop(thing, hand);
    else if (held(value) === null) this.undecided.set(thing, hand);
  }

  /** An event of the world; "grab" tells what became of a thing across a border. */
  heard(name: string, payload: unknown): void {
    if (name !== "grab") return;
    const thing = id((payload as { thing?: unknown } | null)?.thing);
    const hand = thing === null ? undefined : this.undecided.get(thing);
    if (thing === null || hand === undefined) return;
    this.undecided.delete(thing);
    if (held(payload) !== true) this.drop(thing, hand);
  }

  /** What the world shows in somebody else's hand, or in none, for longer than an answer takes is not in ours. */
  check(entities: Entities, body: bigint, dtS: number): void {
    for (let hand = LEFT; hand <= RIGHT; hand++) {
      const thing = this.holds(hand);
      const entity = thing === null ? null : entities.find(thing);
      const isOurs = entity !== null && entities.holderOf(entity.number) === body;
      this.doubtS[hand] = thing === null || isOurs ? 0 : (this.doubtS[hand] ?? 0) + dtS;
      if ((this.doubtS[hand] ?? 0) > DOUBT_MAX_S) this.things[hand] = null;
    }
  }

  /** A new session, or no hands any more. */
  clear(): void {
    this.things.fill(null);
    this.undecided.clear();
  }

  private drop(thing: bigint, hand: number): void {
    if (this.things[hand] === thing) this.things[hand] = null;
  }
}

/** What a press of the trigger asks for: to sit on a seat, to press anything else. */
export function pressOf(entities: Entities, thing: bigint, number: number, hand: number): Act {
  const isSeat = entities.component(number, "taken_by") !== undefined;
  return isSeat ? { name: "sit", payload: { thing } } : { name: "press", payload: { thing, hand: NAMES[hand] } };
}

/** The nearest entity within `reachM` of a hand (`pose` in the world) that `wanted` names; null: there is none. */
export function nearestTo(
  entities: Entities,
  pose: Pose,
  hand: number,
  reachM: number,
  wanted: (entity: Entity) => boolean,
): Entity | null {
  const at = hand * PART_STRIDE;
  const [hx = 0, hy = 0, hz = 0] = [pose.parts[at], pose.parts[at + 1], pose.parts[at + 2]];
  let best: Entity | null = null;
  let least = reachM * reachM;
  for (const entity of entities.all) {
    const d2 = (entity.x - hx) ** 2 + (entity.y - hy) ** 2 + (entity.z - hz) ** 2;
    if (d2 > least || !wanted(entity)) continue;
    best = entity;
    least = d2;
  }
  return best;
}

function held(value: unknown): unknown {
  return typeof value === "object" && value !== null ? (value as { held?: unknown }).held : undefined;
}

function id(value: unknown): bigint | null {
  return typeof value === "bigint" ? value : typeof value === "number" ? BigInt(value) : null;
}
