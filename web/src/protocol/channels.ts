/**
 * CHANNEL, KEYFRAME and CAMERA: what a television is told beside frames (STANDARD.md §10).
 *
 * Not responsible for: what follows from them (tv/television.ts).
 */
import type { Vec3 } from "./layouts";
import type { Items } from "./messages";

/** CHANNEL's codes. */
export const WATCHING = 0;
export const OFF = 3;
/** So far back a channel may be joined. */
export const BEHIND_S_MAX = 60;

/** The answer to a WATCH. */
export interface Channel {
  readonly type: "channel";
  readonly code: number;
  readonly name: string;
  readonly stream: number;
  readonly title: string;
  readonly rateHz: number;
  readonly behindMs: number;
  readonly text: string;
}

/** Forget what this stream told: the next `parts` structure messages, from `sseq` + 1 on, say all that its viewers hold after `frame`. */
export interface Keyframe {
  readonly type: "keyframe";
  readonly sseq: number;
  readonly stream: number;
  readonly frame: number;
  readonly tick: number;
  readonly parts: number;
}

/** What is shown from `tick` on: `eye` and `look` in grid units, from where `entity` is shown if there is one. `moveMs` 0: a cut. */
export interface Camera {
  readonly type: "camera";
  readonly sseq: number;
  readonly stream: number;
  readonly tick: number;
  readonly moveMs: number;
  readonly entity: bigint | null;
  readonly eye: Vec3;
  readonly look: Vec3;
  readonly text: string;
}

export function decodeChannel(r: Items): Channel {
  const [code, name, stream, title] = [r.number(), r.text(), r.number(), r.text()];
  return { type: "channel", code, name, stream, title, rateHz: r.number(), behindMs: r.number(), text: r.text() };
}

export function decodeKeyframe(r: Items): Keyframe {
  const [sseq, stream, frame, tick, parts] = [r.number(), r.number(), r.number(), r.number(), r.number()];
  return { type: "keyframe", sseq, stream, frame, tick, parts };
}

export function decodeCamera(r: Items): Camera {
  const [sseq, stream, tick, moveMs] = [r.number(), r.number(), r.number(), r.number()];
  const entity = r.optional(() => r.id());
  return { type: "camera", sseq, stream, tick, moveMs, entity, eye: r.vec3(), look: r.vec3(), text: r.text() };
}
