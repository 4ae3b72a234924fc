/**
 * CROWD: how many are where, beyond those that a view is told of one by one (STANDARD.md §12).
 *
 * Invariant: cells have a side. Not responsible for: what is shown for them (world/crowd.ts).
 */
import { ProtocolError } from "./codes";
import { Columns } from "./frames";
import type { Items } from "./messages";

/** Cells of `sideM` metres: from (x · side, z · side) on there are `count`, with the mean velocity `vx`, `vz` (1/16 grid unit per tick). */
export interface Crowd {
  readonly type: "crowd";
  readonly stream: number;
  readonly tick: number;
  readonly sideM: number;
  readonly x: Int16Array;
  readonly z: Int16Array;
  readonly count: Uint16Array;
  readonly vx: Int16Array;
  readonly vz: Int16Array;
}

export function decodeCrowd(r: Items): Crowd {
  const [stream, tick] = [r.number(), r.number()];
  const c = new Columns(r.bin(), "CROWD");
  const [cells = 0, sideM = 0] = c.take(Uint16Array, 2);
  if (sideM === 0) throw new ProtocolError("CROWD: cells have no side");
  const [x, z, count] = [c.take(Int16Array, cells), c.take(Int16Array, cells), c.take(Uint16Array, cells)];
  return {
    type: "crowd",
    stream,
    tick,
    sideM,
    x,
    z,
    count,
    vx: c.take(Int16Array, cells),
    vz: c.take(Int16Array, cells),
  };
}
