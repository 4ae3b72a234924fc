/**
 * The map's index and tiles as they come by HTTP (protocol/MAP.md): bytes in, shapes in metres out. No I/O.
 *
 * Invariant: MapError and nothing else is thrown on any bytes; column lengths agree in what is returned.
 */
import { decode } from "@msgpack/msgpack";

import { GRID_PER_M } from "../protocol/layouts";
import type { Ring } from "../walk";

export class MapError extends Error {
  override readonly name = "MapError";
}

export interface MapIndex {
  readonly version: string;
  readonly attribution: string;
  /** min_x, min_z, max_x, max_z in metres. */
  readonly bounds: readonly [number, number, number, number];
  readonly tileM: number;
  /** With {x} and {z} to be filled in. */
  readonly path: string;
  /** "x,z" of all tiles that are not empty. */
  readonly listed: ReadonlySet<string>;
  readonly lineKinds: readonly string[];
  readonly areaKinds: readonly string[];
}

export interface Prism {
  readonly key: number;
  readonly bottom: number;
  readonly top: number;
  /** Metres; the first is the outer one. */
  readonly rings: readonly Ring[];
}

export interface Line {
  readonly kind: string;
  readonly widthM: number;
  readonly points: Ring;
}

export interface Area {
  readonly kind: string;
  readonly rings: readonly Ring[];
}

export interface Tile {
  readonly x: number;
  readonly z: number;
  readonly prisms: readonly Prism[];
  readonly lines: readonly Line[];
  readonly areas: readonly Area[];
  readonly trees: Ring;
  readonly lamps: Ring;
  readonly names: readonly { readonly name: string; readonly kind: string; readonly x: number; readonly z: number }[];
}

export function tileKey(x: number, z: number): string {
  return `${x},${z}`;
}

/** The index from its parsed JSON. Throws MapError. */
export function readIndex(json: unknown): MapIndex {
  const index = json as {
    format: number;
    version: string;
    attribution: string;
    grid_per_m: number;
    bounds: [number, number, number, number];
    tile: number;
    path: string;
    tiles: [number, number, number][];
    line_kinds: string[];
    area_kinds: string[];
  } | null;
  if (index === null || index.format !== 1) throw new MapError("this page does not know the map's format");
  const k = index.grid_per_m;
  const [x0, z0, x1, z1] = index.bounds;
  return {
    version: index.version,
    attribution: index.attribution,
    bounds: [x0 / k, z0 / k, x1 / k, z1 / k],
    tileM: index.tile / k,
    path: index.path,
    listed: new Set(index.tiles.map(([x, z]) => tileKey(x, z))),
    lineKinds: index.line_kinds,
    areaKinds: index.area_kinds,
  };
}

type Numbers = Uint8Array | Uint16Array | Uint32Array | Int32Array;

/** Takes the columns of a tile's map, copied to where typed arrays may lie. */
class Columns {
  constructor(private readonly map: Readonly<Record<string, unknown>>) {}

  private take<T extends Numbers>(key: string, type: new (buffer: ArrayBuffer) => T, width: number): T {
    const value = this.map[key];
    if (!(value instanceof Uint8Array) || value.length % width !== 0) throw new MapError(`tile: ${key} is no column`);
    return new type(value.slice().buffer);
  }

  u8 = (key: string) => this.take(key, Uint8Array, 1);
  u16 = (key: string) => this.take(key, Uint16Array, 2);
  u32 = (key: string) => this.take(key, Uint32Array, 4);
  i32 = (key: string) => this.take(key, Int32Array, 4);
}

/** Hands out consecutive points of a column of x, z in grid units, as metres. */
class Points {
  private at = 0;

  constructor(private readonly xz: Int32Array) {}

  next(count: number): [number, number][] {
    if (this.at + 2 * count > this.xz.length) throw new MapError("tile: a column of points is too short");
    const points: [number, number][] = [];
    for (let i = 0; i < count; i++) {
      points.push([(this.xz[this.at++] ?? 0) / GRID_PER_M, (this.xz[this.at++] ?? 0) / GRID_PER_M]);
    }
    return points;
  }

  get rest(): [number, number][] {
    return this.next((this.xz.length - this.at) / 2);
  }
}

/** A tile from its bytes. Throws MapError. */
export function readTile(bytes: Uint8Array, index: MapIndex): Tile {
  let map: unknown;
  try {
    map = decode(bytes);
  } catch (error) {
    throw new MapError(`tile: ${String(error)}`);
  }
  if (typeof map !== "object" || map === null || (map as { format?: unknown }).format !== 1) {
    throw new MapError("tile: this page does not know its format");
  }
  const { x, z, names } = map as { x: number; z: number; names: [string, string, number, number][] };
  const c = new Columns(map as Record<string, unknown>);
  const home = (at: readonly [number, number] | undefined): boolean => {
    // What lies in several tiles comes with each of them, and is drawn by the one that its first point is in.
    const [px, pz] = at ?? [0, 0];
    return Math.floor(px / index.tileM) === x && Math.floor(pz / index.tileM) === z;
  };

  const ringPoints = c.u16("ring_points");
  const prismXz = new Points(c.i32("ring_xz"));
  const [keys, bottoms, tops] = [c.u32("prism_key"), c.i32("prism_bottom"), c.i32("prism_top")];
  let ring = 0;
  const prisms = Array.from(c.u16("prism_rings"), (rings, i): Prism => ({
    key: keys[i] ?? 0,
    bottom: (bottoms[i] ?? 0) / GRID_PER_M,
    top: (tops[i] ?? 0) / GRID_PER_M,
    rings: Array.from({ length: rings }, () => prismXz.next(ringPoints[ring++] ?? 0)),
  }));

  const lineXz = new Points(c.i32("line_xz"));
  const [lineKinds, lineWidths] = [c.u8("line_kind"), c.u16("line_width")];
  const lines = Array.from(c.u16("line_points"), (points, i): Line => ({
    kind: index.lineKinds[lineKinds[i] ?? 0] ?? "",
    widthM: (lineWidths[i] ?? 0) / GRID_PER_M,
    points: lineXz.next(points),
  }));

  const areaXz = new Points(c.i32("area_xz"));
  const [areaKinds, areaRingPoints] = [c.u8("area_kind"), c.u16("area_ring_points")];
  let areaRing = 0;
  const areas = Array.from(c.u16("area_rings"), (rings, i): Area => ({
    kind: index.areaKinds[areaKinds[i] ?? 0] ?? "",
    rings: Array.from({ length: rings }, () => areaXz.next(areaRingPoints[areaRing++] ?? 0)),
  }));

  return {
    x,
    z,
    prisms,
    lines: lines.filter((line) => home(line.points[0])),
    areas: areas.filter((area) => home(area.rings[0]?.[0])),
    trees: new Points(c.i32("tree_xz")).rest,
    lamps: new Points(c.i32("lamp_xz")).rest,
    names: names.map(([name, kind, nx, nz]) => ({ name, kind, x: nx / GRID_PER_M, z: nz / GRID_PER_M })),
  };
}

/** Whether tile (x, z) is the one that draws this prism: it is in every tile that it touches. */
export function drawsPrism(tile: Tile, prism: Prism, tileM: number): boolean {
  const [px, pz] = prism.rings[0]?.[0] ?? [0, 0];
  return Math.floor(px / tileM) === tile.x && Math.floor(pz / tileM) === tile.z;
}
