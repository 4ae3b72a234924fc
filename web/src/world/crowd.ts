/**
 * Those in the distance who are counted instead of told of one by one (STANDARD.md §12): places for figures that stand for them.
 *
 * How many are in each cell and how they move is the server's word; where they are within the cell is imagined here, the same way each
 * time, and they go round within it. The nearest are told of one by one, so no figure stands nearer than the farthest of these: who finds
 * no place in what is left of its cell is not shown. Invariants: at most FIGURES_MAX, each cell its share; `place` makes no objects.
 * Told ticks; asks for no time. Not responsible for: drawing (render/crowd.ts), which shows them as nobody in particular.
 */
import type { Crowd } from "../protocol/crowds";
import { SHOWN_PER_M } from "../protocol/layouts";
import { scatter } from "./scatter";

export const FIGURES_MAX = 1500;
/** So many places are tried for a figure. */
const TRIES = 4;

export class FarCrowd {
  private crowd: Crowd | null = null;
  private fromX = 0;
  private fromZ = 0;
  private nearM = 0;
  /** All that were counted. */
  total = 0;

  /** Another stream begins. */
  begin(): void {
    this.crowd = null;
    this.total = 0;
  }

  /** The newest count takes the place of all before. Nobody in it is within `nearM` of (x, z). */
  tell(crowd: Crowd, x: number, z: number, nearM: number): void {
    if (this.crowd !== null && crowd.tick < this.crowd.tick) return;
    this.crowd = crowd;
    this.fromX = x;
    this.fromZ = z;
    this.nearM = nearM;
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
      const cx = crowd.x[cell] ?? 0;
      const cz = crowd.z[cell] ?? 0;
      const figures = Math.min(FIGURES_MAX - at, Math.ceil((crowd.count[cell] ?? 0) * share));
      const goneX = ((crowd.vx[cell] ?? 0) * tick) / SHOWN_PER_M / side;
      const goneZ = ((crowd.vz[cell] ?? 0) * tick) / SHOWN_PER_M / side;
      for (let i = 0; i < figures; i++) {
        for (let attempt = 0; attempt < TRIES; attempt++) {
          const key = Math.imul(cx, 73856093) ^ Math.imul(cz, 19349663) ^ Math.imul(TRIES * i + attempt + 1, 83492791);
          const x = side * (cx + wrapped(scatter(key) + goneX));
          const z = side * (cz + wrapped(scatter(key ^ 0x5bd1e995) + goneZ));
          if (Math.hypot(x - this.fromX, z - this.fromZ) < this.nearM) continue;
          out[2 * at] = x;
          out[2 * at + 1] = z;
          at++;
          break;
        }
      }
    }
    return at;
  }
}

function wrapped(value: number): number {
  return value - Math.floor(value);
}
