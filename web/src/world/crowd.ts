/**
 * Those in the distance who are counted instead of told of one by one (STANDARD.md §12): places for figures that stand for them.
 *
 * How many are in each cell and how they move is the server's word; where they are within the cell is imagined here, the same way each
 * time, and they go round within it. So figures never carry names, and nobody is to take one for a certain person. Invariants: there are
 * as many as were counted, but at most FIGURES_MAX, each cell its share; nothing allocates in `place`. Told ticks; asks for no time.
 * Not responsible for: drawing (render/crowd.ts).
 */
import type { Crowd } from "../protocol/crowds";
import { SHOWN_PER_M } from "../protocol/layouts";
import { scatter } from "./scatter";

export const FIGURES_MAX = 1500;

export class FarCrowd {
  private crowd: Crowd | null = null;
  /** All that were counted. */
  total = 0;

  /** Another stream begins. */
  begin(): void {
    this.crowd = null;
    this.total = 0;
  }

  /** The newest count takes the place of all before. */
  tell(crowd: Crowd): void {
    if (this.crowd !== null && crowd.tick < this.crowd.tick) return;
    this.crowd = crowd;
    this.total = crowd.count.reduce((sum, count) => sum + count, 0);
  }

  /** Writes x and z of each figure at `tick` in metres, one after the other, to `out` (2 · FIGURES_MAX); returns how many there are. */
  place(tick: number, out: Float32Array): number {
    const { crowd, total } = this;
    if (crowd === null || total === 0) return 0;
    const share = Math.min(1, FIGURES_MAX / total);
    const side = crowd.sideM;
    let at = 0;
    for (let cell = 0; cell < crowd.count.length; cell++) {
      const [cx = 0, cz = 0] = [crowd.x[cell], crowd.z[cell]];
      const [vx = 0, vz = 0] = [crowd.vx[cell], crowd.vz[cell]];
      const figures = Math.min(FIGURES_MAX - at, Math.ceil((crowd.count[cell] ?? 0) * share));
      for (let i = 0; i < figures; i++, at++) {
        const key = Math.imul(cx, 73856093) ^ Math.imul(cz, 19349663) ^ Math.imul(i + 1, 83492791);
        out[2 * at] = side * (cx + wrapped(scatter(key) + (vx * tick) / SHOWN_PER_M / side));
        out[2 * at + 1] = side * (cz + wrapped(scatter(key ^ 0x5bd1e995) + (vz * tick) / SHOWN_PER_M / side));
      }
    }
    return at;
  }
}

function wrapped(value: number): number {
  return value - Math.floor(value);
}
