/**
 * A remote control: what its keys make of the guide, of the channel that is wanted and of how far back (docs/TV.md).
 *
 * While the picture is there: up and down zap, left goes back ten seconds, right forward, OK opens the guide, Back goes to the present.
 * In the guide: up and down choose, OK watches, Back, left and right close. A WATCH waits until the keys rest, since a server carries out
 * two a second. Invariants: the cursor is within the guide; at most BEHIND_S_MAX back. Told all times; asks for none. Not responsible
 * for: key codes (keys.ts), showing (screen.ts).
 */
import { BEHIND_S_MAX } from "../protocol/channels";

const SKIP_S = 10;
/** Nearer than this one is meant to be at the present: a recording is entered every few seconds. */
const PRESENT_S = 5;
const REST_MS = 350;

export type Key = "up" | "down" | "left" | "right" | "ok" | "back";

export interface Entry {
  readonly name: string;
  readonly title: string;
  /** What is on now; empty while nobody watches. */
  readonly on: string;
  readonly viewers: number;
}

export interface Watch {
  /** Null: the world's first channel. */
  readonly name: string | null;
  readonly behindS: number;
}

export class Remote {
  guide: readonly Entry[] = [];
  isOpen = false;
  cursor = 0;
  behindS = 0;
  /** When something was last done: what is told about the channel is shown for a while. */
  touchedMs = 0;
  private dueMs: number | null = null;

  /** `name`: the channel that is wanted first; null: the world's first. */
  constructor(private name: string | null) {}

  /** The channel that is wanted, as far as it is in the guide. */
  get current(): Entry | null {
    return this.guide[this.index] ?? null;
  }

  private get index(): number {
    const found = this.guide.findIndex((entry) => entry.name === this.name);
    return found >= 0 ? found : 0;
  }

  /** What there is to watch. */
  learn(guide: readonly Entry[]): void {
    const chosen = this.guide[this.cursor]?.name;
    this.guide = guide;
    const again = guide.findIndex((entry) => entry.name === chosen);
    this.cursor = again >= 0 ? again : Math.min(this.cursor, Math.max(0, guide.length - 1));
  }

  /** What to ask for on a new connection. */
  get wanted(): Watch {
    return { name: this.name, behindS: this.behindS };
  }

  /** The server carried out a WATCH: how far behind the present it is, as near as it can. */
  watching(name: string, behindMs: number): void {
    if (this.dueMs !== null) return; // another one has been chosen meanwhile
    this.name = name;
    this.behindS = Math.round(behindMs / 1000);
  }

  press(key: Key, nowMs: number): void {
    this.touchedMs = nowMs;
    if (this.isOpen) this.choose(key, nowMs);
    else this.steer(key, nowMs);
  }

  /** The WATCH to say now, if the keys have rested. */
  due(nowMs: number): Watch | null {
    if (this.dueMs === null || nowMs < this.dueMs) return null;
    this.dueMs = null;
    return this.wanted;
  }

  private choose(key: Key, nowMs: number): void {
    const count = this.guide.length;
    if (key === "up" || key === "down") {
      if (count > 0) this.cursor = (this.cursor + (key === "up" ? count - 1 : 1)) % count;
      return;
    }
    this.isOpen = false;
    if (key === "ok") this.want(this.guide[this.cursor]?.name ?? this.name, 0, nowMs, 0);
  }

  private steer(key: Key, nowMs: number): void {
    const count = this.guide.length;
    if (key === "ok") {
      this.isOpen = true;
      this.cursor = this.index;
    } else if (key === "left") this.want(this.name, Math.min(BEHIND_S_MAX, this.behindS + SKIP_S), nowMs, REST_MS);
    else if (key === "right") {
      const ahead = this.behindS - SKIP_S;
      this.want(this.name, ahead < PRESENT_S ? 0 : ahead, nowMs, REST_MS);
    } else if (key === "back") this.want(this.name, 0, nowMs, 0);
    else if (count > 1) {
      const next = this.guide[(this.index + (key === "up" ? count - 1 : 1)) % count];
      this.want(next?.name ?? this.name, 0, nowMs, REST_MS);
    }
  }

  private want(name: string | null, behindS: number, nowMs: number, restMs: number): void {
    if (name === this.name && behindS === this.behindS) return;
    this.name = name;
    this.behindS = behindS;
    this.dueMs = nowMs + restMs;
  }
}
