/**
 * Fetches the map around a point, nearest tiles first; the browser's cache keeps what is immutable (protocol/MAP.md §1).
 *
 * Invariant: each tile is asked for once, a few at a time; one that fails is tried again a little later. Holds the Ground that
 * bodies collide with. Not responsible for: what tiles look like (render/).
 */
import { Ground } from "../walk";
import { readIndex, readTile, tileKey, type MapIndex, type Tile } from "./tile";

const PARALLEL = 4;
const RETRY_MS = 2000;
/** Walking needs all prisms within this distance of the body. */
const WALK_REACH_M = 2;

export class MapLoader {
  private readonly loaded = new Set<string>();
  private readonly asked = new Set<string>();
  readonly ground: Ground;

  private constructor(
    readonly index: MapIndex,
    private readonly base: URL,
    private readonly onTile: (tile: Tile) => void,
  ) {
    this.ground = new Ground(...index.bounds);
  }

  /** Fetch the index. Throws MapError or TypeError (network). */
  static async open(url: URL, onTile: (tile: Tile) => void): Promise<MapLoader> {
    const response = await fetch(url, { cache: "no-cache" });
    if (!response.ok) throw new TypeError(`the map's index answered ${response.status}`);
    return new MapLoader(readIndex(await response.json()), url, onTile);
  }

  get count(): number {
    return this.loaded.size;
  }

  /** Whether all that a body at (x, z) could collide with is here: only then may it be predicted. */
  covers(x: number, z: number): boolean {
    const { tileM, listed } = this.index;
    for (const tx of new Set([x - WALK_REACH_M, x + WALK_REACH_M].map((c) => Math.floor(c / tileM)))) {
      for (const tz of new Set([z - WALK_REACH_M, z + WALK_REACH_M].map((c) => Math.floor(c / tileM)))) {
        const key = tileKey(tx, tz);
        if (listed.has(key) && !this.loaded.has(key)) return false;
      }
    }
    return true;
  }

  /** Ask for what is missing within `radiusM` of (x, z). */
  want(x: number, z: number, radiusM: number): void {
    const { tileM, listed } = this.index;
    const missing: { tx: number; tz: number; distance: number }[] = [];
    for (let tx = Math.floor((x - radiusM) / tileM); tx <= Math.floor((x + radiusM) / tileM); tx++) {
      for (let tz = Math.floor((z - radiusM) / tileM); tz <= Math.floor((z + radiusM) / tileM); tz++) {
        const key = tileKey(tx, tz);
        if (!listed.has(key) || this.loaded.has(key) || this.asked.has(key)) continue;
        missing.push({ tx, tz, distance: Math.hypot((tx + 0.5) * tileM - x, (tz + 0.5) * tileM - z) });
      }
    }
    missing.sort((a, b) => a.distance - b.distance);
    for (const { tx, tz } of missing.slice(0, Math.max(0, PARALLEL - this.asked.size))) void this.fetchTile(tx, tz);
  }

  private async fetchTile(tx: number, tz: number): Promise<void> {
    const key = tileKey(tx, tz);
    this.asked.add(key);
    const path = this.index.path.replace("{x}", `${tx}`).replace("{z}", `${tz}`);
    try {
      const response = await fetch(new URL(path, this.base));
      if (!response.ok) throw new TypeError(`tile ${key} answered ${response.status}`);
      const tile = readTile(new Uint8Array(await response.arrayBuffer()), this.index);
      for (const prism of tile.prisms) this.ground.add(prism.key, prism.bottom, prism.top, prism.rings);
      this.loaded.add(key);
      this.asked.delete(key);
      this.onTile(tile);
    } catch (error) {
      console.warn(`map: ${String(error)}; trying again`);
      setTimeout(() => this.asked.delete(key), RETRY_MS);
    }
  }
}
