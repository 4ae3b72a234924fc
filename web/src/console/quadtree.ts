/** Regions by their numbers (cluster/regions.py): the path in a quadtree with a leading one; bit 0 of a quarter is X, bit 1 Z. */

export interface Square {
  readonly x: number;
  readonly z: number;
  readonly side: number;
}

export function levelOf(region: number): number {
  return Math.floor(Math.log2(region) / 2);
}

/** Where a region is in a world of `sideM` around the origin: its least corner and its side, metres. */
export function squareOf(region: number, sideM: number): Square {
  const level = levelOf(region);
  let [i, k] = [0, 0];
  for (let bit = 0; bit < level; bit++) {
    i |= ((region >> (2 * bit)) & 1) << bit;
    k |= ((region >> (2 * bit + 1)) & 1) << bit;
  }
  const side = sideM / 2 ** level;
  return { x: -sideM / 2 + i * side, z: -sideM / 2 + k * side, side };
}

/** Which of these squares holds a place; the index, or −1. */
export function squareAt(squares: readonly Square[], x: number, z: number): number {
  return squares.findIndex((s) => x >= s.x && x < s.x + s.side && z >= s.z && z < s.z + s.side);
}

/** The square beside one in a direction (dx, dz of −1, 0, 1); the index, or `from` if there is none. */
export function beside(squares: readonly Square[], from: number, dx: number, dz: number): number {
  const s = squares[from];
  if (s === undefined) return squares.length > 0 ? 0 : -1;
  const half = s.side / 2;
  const found = squareAt(squares, s.x + half + dx * (half + 1), s.z + half + dz * (half + 1));
  return found < 0 ? from : found;
}
