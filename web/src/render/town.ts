/**
 * Map tiles as meshes: for each tile at most one for buildings, surfaces, lines, trees and lamps each.
 *
 * Flat things are painted in order without depth (they all lie at height 0), so they never flicker. Not responsible for: which
 * tiles are here (map/loader.ts), collision (walk.ts).
 */
import {
  CanvasTexture,
  Color,
  ConeGeometry,
  CylinderGeometry,
  Group,
  IcosahedronGeometry,
  InstancedMesh,
  Matrix4,
  Mesh,
  MeshLambertMaterial,
  RepeatWrapping,
  SRGBColorSpace,
  Vector3,
  type BufferGeometry,
} from "three";
import { mergeGeometries } from "three/addons/utils/BufferGeometryUtils.js";

import { drawsPrism, type Area, type Line, type Prism, type Tile } from "../map/tile";
import type { Ring } from "../walk";
import { scatter } from "../world/scatter";
import { Mesher } from "./geometry";
import { coloured } from "./shapes";

const FACADES = [
  "#e8dcc3",
  "#e3c9a0",
  "#d9b48f",
  "#ead9cf",
  "#d8d4c8",
  "#c9b9a6",
  "#e6cfb8",
  "#cfc6bd",
  "#d7a98c",
  "#c8ccc9",
];
const ROOFS = ["#6f6a66", "#7d5a4c", "#59636b", "#8a8680", "#5f6f66"];
const WINDOW_M = 3;
const STOREY_M = 3.4;

const AREA_COLORS: Readonly<Record<string, string>> = {
  park: "#93b46f",
  grass: "#a3bf78",
  scrub: "#7f9f62",
  water: "#7fa9c9",
  square: "#d6cdbd",
};
/** In the order in which they are painted. */
const LINE_COLORS: readonly (readonly [string, string])[] = [
  ["path", "#c2b496"],
  ["footway", "#c6beb0"],
  ["steps", "#a59d90"],
  ["pedestrian", "#d2c8b7"],
  ["cycleway", "#a98377"],
  ["service", "#85878b"],
  ["street", "#717479"],
  ["main", "#64676d"],
  ["rail", "#4a443f"],
  ["tram", "#4c4d50"],
];
const RAIL_M = 0.14;

export class Town {
  readonly group = new Group();
  private readonly walls = new MeshLambertMaterial({ vertexColors: true, map: facade() });
  private readonly flat = new MeshLambertMaterial({ vertexColors: true, depthTest: false, depthWrite: false });
  private readonly solid = new MeshLambertMaterial({ vertexColors: true });
  private readonly tree = treeGeometry();
  private readonly lamp = lampGeometry();

  constructor(private readonly tileM: number) {}

  add(tile: Tile): void {
    this.mesh(buildings(tile.prisms.filter((prism) => drawsPrism(tile, prism, this.tileM))), this.walls, 0);
    this.mesh(surfaces(tile.areas), this.flat, -2);
    this.mesh(lines(tile.lines), this.flat, -1);
    this.instances(tile.trees, this.tree, 0.75, 0.6);
    this.instances(tile.lamps, this.lamp, 1, 0);
  }

  private mesh(mesher: Mesher, material: MeshLambertMaterial, renderOrder: number): void {
    if (mesher.empty) return;
    const mesh = new Mesh(mesher.build(), material);
    mesh.renderOrder = renderOrder;
    mesh.matrixAutoUpdate = false;
    this.group.add(mesh);
  }

  /** One instance at each point, of a height between `least` and `least + spread`. */
  private instances(points: Ring, geometry: BufferGeometry, least: number, spread: number): void {
    if (points.length === 0) return;
    const mesh = new InstancedMesh(geometry, this.solid, points.length);
    const matrix = new Matrix4();
    const scale = new Vector3();
    points.forEach(([x, z], i) => {
      const variety = scatter(Math.round(x * 128) * 31 + Math.round(z * 128));
      const size = least + spread * variety;
      matrix.makeRotationY(variety * 2 * Math.PI).scale(scale.setScalar(size));
      matrix.setPosition(x, 0, z);
      mesh.setMatrixAt(i, matrix);
    });
    mesh.computeBoundingSphere();
    mesh.matrixAutoUpdate = false;
    this.group.add(mesh);
  }
}

function buildings(prisms: readonly Prism[]): Mesher {
  const mesher = new Mesher();
  for (const prism of prisms) {
    const shade = 0.92 + 0.12 * scatter(prism.key ^ 0x55);
    const wall = new Color(FACADES[Math.floor(scatter(prism.key) * FACADES.length)] ?? "#dddddd").multiplyScalar(shade);
    const roof = new Color(ROOFS[Math.floor(scatter(prism.key ^ 0x1234) * ROOFS.length)] ?? "#777777");
    for (const ring of prism.rings) facades(mesher, ring, prism.bottom, prism.top, wall);
    mesher.polygon(prism.rings, prism.top, roof);
  }
  return mesher;
}

/** The walls over a ring. Its interior lies to the same side of each edge as WALKING.md's normals say. */
function facades(mesher: Mesher, ring: Ring, bottom: number, top: number, color: Color): void {
  ring.forEach(([ax, az], i) => {
    const [bx, bz] = ring[(i + 1) % ring.length] ?? [ax, az];
    const length = Math.hypot(bx - ax, bz - az);
    if (length === 0) return;
    const [nx, nz] = [(bz - az) / length, -(bx - ax) / length];
    // Whole windows on each wall; small walls and low ones have none.
    const high = top - bottom;
    const windows = length > 2.2 && high > 2.8 ? Math.max(1, Math.round(length / WINDOW_M)) : 0;
    const storeys = windows > 0 ? Math.max(1, Math.round(high / STOREY_M)) : 0;
    const a0 = mesher.vertex(ax, bottom, az, nx, 0, nz, color, windows, 0);
    const a1 = mesher.vertex(ax, top, az, nx, 0, nz, color, windows, storeys);
    const b0 = mesher.vertex(bx, bottom, bz, nx, 0, nz, color, 0, 0);
    const b1 = mesher.vertex(bx, top, bz, nx, 0, nz, color, 0, storeys);
    mesher.triangle(b0, a0, a1);
    mesher.triangle(b0, a1, b1);
  });
}

function surfaces(areas: readonly Area[]): Mesher {
  const mesher = new Mesher();
  const order = Object.keys(AREA_COLORS);
  const rank = (area: Area) => (area.kind === "square" ? -1 : order.indexOf(area.kind));
  for (const area of [...areas].sort((a, b) => rank(a) - rank(b))) {
    mesher.polygon(area.rings, 0, new Color(AREA_COLORS[area.kind] ?? "#cccccc"));
  }
  return mesher;
}

function lines(all: readonly Line[]): Mesher {
  const mesher = new Mesher();
  for (const [kind, hex] of LINE_COLORS) {
    const color = new Color(hex);
    for (const line of all) {
      if (line.kind !== kind) continue;
      if (kind === "tram" || kind === "rail") {
        mesher.ribbon(line.points, RAIL_M, color, line.widthM / 2);
        mesher.ribbon(line.points, RAIL_M, color, -line.widthM / 2);
      } else mesher.ribbon(line.points, line.widthM, color);
    }
  }
  return mesher;
}

/** One window and the plaster around it, repeated over all walls. Its corner is plain: what has no window points there. */
function facade(): CanvasTexture {
  const size = 64;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size;
  const g = canvas.getContext("2d");
  if (g !== null) {
    g.fillStyle = "#ffffff";
    g.fillRect(0, 0, size, size);
    g.fillStyle = "#f1ede6"; // a ledge between storeys
    g.fillRect(0, size - 3, size, 3);
    g.fillStyle = "#faf7f1"; // frame
    g.fillRect(19, 13, 26, 36);
    const glass = g.createLinearGradient(0, 15, 0, 47);
    glass.addColorStop(0, "#8fa6b8");
    glass.addColorStop(1, "#52626f");
    g.fillStyle = glass;
    g.fillRect(21, 15, 22, 32);
    g.fillStyle = "#e9e4da"; // glazing bars
    g.fillRect(31, 15, 2, 32);
    g.fillRect(21, 25, 22, 2);
    g.fillStyle = "#d9d2c6"; // sill
    g.fillRect(17, 49, 30, 3);
  }
  const texture = new CanvasTexture(canvas);
  texture.wrapS = texture.wrapT = RepeatWrapping;
  texture.colorSpace = SRGBColorSpace;
  texture.anisotropy = 4;
  return texture;
}

function treeGeometry(): BufferGeometry {
  const trunk = coloured(new CylinderGeometry(0.16, 0.24, 2.6, 6).translate(0, 1.3, 0), "#6b4f3a");
  const crown = coloured(new IcosahedronGeometry(2.1, 1).scale(1, 1.15, 1).translate(0, 4.5, 0), "#6f9a4d");
  const top = coloured(new IcosahedronGeometry(1.4, 1).translate(0.5, 5.9, 0.3), "#7da857");
  return mergeGeometries([trunk, crown, top]);
}

function lampGeometry(): BufferGeometry {
  const pole = coloured(new CylinderGeometry(0.05, 0.08, 4.4, 5).translate(0, 2.2, 0), "#3f4347");
  const head = coloured(new ConeGeometry(0.28, 0.3, 6).translate(0, 4.5, 0), "#f3e7bf");
  return mergeGeometries([pole, head]);
}
