/**
 * Everybody and everything that is seen, for one moment: entities become figures and things, poses become heads and hands, and what is
 * held is drawn in the hand that holds it. Nothing here makes objects in the steady state.
 *
 * Not responsible for: the town (town.ts), where anything is (world/), the camera.
 */
import { Group } from "three";

import { LEFT, newPose, PART_STRIDE, RIGHT, type Pose } from "../protocol/poses";
import type { FarCrowd } from "../world/crowd";
import type { Entities, Entity } from "../world/entities";
import type { PoseTracks } from "../world/poses";
import { CrowdFigures } from "./crowd";
import { Figures, NO_COLOUR } from "./figures";
import { Props, type Shape } from "./props";

/** Kinds that have a shape of their own. */
const SHAPES: Readonly<Record<string, Shape>> = { ball: "ball", cup: "cup", bell: "bell" };

export interface Seen {
  readonly entities: Entities;
  readonly poses: PoseTracks;
  readonly crowd: FarCrowd;
  readonly tick: number;
}

/** The own body. */
export interface Self {
  readonly id: bigint;
  readonly feet: readonly [number, number, number];
  readonly yaw: number;
  readonly speed: number;
  readonly walked: number;
}

/** Somebody in a headset: hands in the world, and what they hold (ids). */
export interface OwnHands {
  readonly pose: Pose;
  holds(hand: number): bigint | null;
}

export class Picture {
  readonly group = new Group();
  private readonly figures = new Figures();
  private readonly props = new Props();
  private readonly crowd = new CrowdFigures();
  private readonly pose = newPose();

  constructor() {
    this.group.add(this.figures.group, this.props.group, this.crowd.mesh);
  }

  /** `self` null: nobody; with `hands` one sees one's hands instead of oneself. */
  draw(seen: Seen, self: Self | null, hands: OwnHands | null): void {
    const { entities, poses, tick } = seen;
    const { all } = entities;
    this.figures.begin(all.length + 1);
    this.props.begin(all.length);
    for (const entity of all) {
      const { id, number, x, y, z, yaw, speed, walked } = entity;
      const colour = entities.colourOf(number) ?? NO_COLOUR;
      if (entities.isPerson(entity.kind)) {
        const pose = poses.shown(number, tick, this.pose) ? this.pose : null;
        this.figures.put(id, x, y, z, yaw, speed, walked, colour, pose);
      } else this.thing(seen, entity, self, hands, colour);
    }
    if (hands !== null) this.figures.putHands(hands.pose);
    else if (self !== null) {
      const [x, y, z] = self.feet;
      this.figures.put(self.id, x, y, z, self.yaw, self.speed, self.walked, NO_COLOUR, null);
    }
    this.figures.end();
    this.props.end();
    this.crowd.draw(seen.crowd, tick);
  }

  private thing(seen: Seen, entity: Entity, self: Self | null, hands: OwnHands | null, colour: number): void {
    const { entities, poses, tick } = seen;
    const { id, number, x, y, z, yaw, walked } = entity;
    const shape = shapeOf(entities, entity);
    if (hands !== null) {
      for (let hand = LEFT; hand <= RIGHT; hand++) {
        if (hands.holds(hand) !== id || (hands.pose.tracked & (1 << hand)) === 0) continue;
        this.props.putHeld(shape, 0, 0, 0, hands.pose.parts, hand * PART_STRIDE, colour);
        return;
      }
    }
    const holder = entities.holderOf(number);
    const other = holder === null || holder === self?.id ? null : entities.find(holder);
    const hand = Number(entities.component(number, "held_hand") ?? 0);
    const isHeld = other !== null && (hand === LEFT || hand === RIGHT) && poses.shown(other.number, tick, this.pose);
    if (isHeld && (this.pose.tracked & (1 << hand)) !== 0) {
      this.props.putHeld(shape, other.x, other.y, other.z, this.pose.parts, hand * PART_STRIDE, colour);
    } else this.props.put(shape, x, y, z, yaw, walked, colour);
  }
}

function shapeOf(entities: Entities, entity: Entity): Shape {
  const known = SHAPES[entities.kindName(entity.kind)];
  if (known !== undefined) return known;
  if (entities.isHoldable(entity.number)) return "trinket";
  return entities.component(entity.number, "taken_by") === undefined ? "crate" : "seat";
}
