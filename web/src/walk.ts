/**
 * One walk step: the rule by which the server decides where a body is and this page predicts it (protocol/WALKING.md).
 *
 * Invariant: the result is the same, bit for bit, as the server's; the order in which prisms were added does not matter.
 * JavaScript's numbers are binary64 and are never contracted, so following the order of operations is all it takes.
 * Not responsible for: fetching the map, queues of commands, reconciliation. Section numbers are that page's.
 */
import { BUTTON_JUMP, BUTTON_RUN, MOVE_UNIT } from "./protocol/layouts";

export const RADIUS = 0.3125;
export const HEIGHT = 1.8125;
export const STEP = 0.40625;
const WALK = 3.0;
const RUN = 6.0;
const ACCEL_GROUND = 20.0;
const ACCEL_AIR = 4.0;
const JUMP = 4.0;
const GRAVITY = 9.81;
const FALL = 40.0;
const TOUCH = RADIUS - 2 ** -20;
const FIT = RADIUS - 2 ** -10;
const MOVE = 0.15625;
const REACH = 0.25;
const PUSHES = 8;
const SUBMOVES = 4;

const CELL_M = 4;
/** More than RADIUS + REACH: one cell then holds every edge that a sub-move from inside it can meet. */
const MARGIN_M = 0.75;

/** A closed ring of points [x, z] in metres, the first not repeated. */
export type Ring = readonly (readonly [number, number])[];

export interface Edge {
  readonly ax: number;
  readonly az: number;
  readonly bx: number;
  readonly bz: number;
  readonly bottom: number;
  readonly top: number;
}

interface Prism {
  readonly bottom: number;
  readonly top: number;
  readonly edges: readonly Edge[];
}

interface Cell {
  readonly edges: Edge[];
  readonly prisms: Prism[];
}

const EMPTY: Cell = { edges: [], prisms: [] };

/** The static world that bodies collide with: prisms, found by square cells. */
export class Ground {
  private readonly cells = new Map<string, Cell>();
  private readonly keys = new Set<number>();

  constructor(
    readonly minX: number,
    readonly minZ: number,
    readonly maxX: number,
    readonly maxZ: number,
  ) {}

  /** Add a prism; one whose key is known is ignored (a prism comes with every tile it touches). Returns whether it was new. */
  add(key: number, bottom: number, top: number, rings: readonly Ring[]): boolean {
    if (this.keys.has(key)) return false;
    this.keys.add(key);
    const edges: Edge[] = [];
    for (const ring of rings) {
      ring.forEach(([bx, bz], i) => {
        const [ax, az] = ring[(i + ring.length - 1) % ring.length] ?? [bx, bz];
        if (ax !== bx || az !== bz) edges.push({ ax, az, bx, bz, bottom, top });
      });
    }
    const prism = { bottom, top, edges };
    for (const edge of edges) this.under([edge], MARGIN_M, (cell) => cell.edges.push(edge));
    this.under(edges, 0, (cell) => cell.prisms.push(prism));
    return true;
  }

  /** Edges that a sub-move from (x, z) can meet, and prisms whose bounding box may hold (x, z). */
  cell(x: number, z: number): Cell {
    return this.cells.get(`${Math.floor(x / CELL_M)},${Math.floor(z / CELL_M)}`) ?? EMPTY;
  }

  private under(edges: readonly Edge[], margin: number, visit: (cell: Cell) => void): void {
    let [x0, z0, x1, z1] = [Infinity, Infinity, -Infinity, -Infinity];
    for (const { ax, az, bx, bz } of edges) {
      x0 = Math.min(x0, ax, bx);
      x1 = Math.max(x1, ax, bx);
      z0 = Math.min(z0, az, bz);
      z1 = Math.max(z1, az, bz);
    }
    for (let ix = Math.floor((x0 - margin) / CELL_M); ix <= Math.floor((x1 + margin) / CELL_M); ix++) {
      for (let iz = Math.floor((z0 - margin) / CELL_M); iz <= Math.floor((z1 + margin) / CELL_M); iz++) {
        const key = `${ix},${iz}`;
        let cell = this.cells.get(key);
        if (cell === undefined) this.cells.set(key, (cell = { edges: [], prisms: [] }));
        visit(cell);
      }
    }
  }
}

/** The state of one body (§3): feet in metres, velocity in m/s. */
export interface Walker {
  readonly x: number;
  readonly y: number;
  readonly z: number;
  readonly vx: number;
  readonly vy: number;
  readonly vz: number;
  readonly onGround: boolean;
}

/** What a command asks of a step: integers, as they travel. */
export interface Wish {
  readonly moveX: number;
  readonly moveZ: number;
  readonly buttons: number;
}

interface Body {
  x: number;
  y: number;
  z: number;
  vx: number;
  vz: number;
}

interface Levels {
  readonly floor: number;
  readonly ceil: number;
}

/** One walk step (§4) of `h` seconds. Pure. */
export function walkStep(ground: Ground, walker: Walker, wish: Wish, h: number): Walker {
  const body: Body = { x: walker.x, y: walker.y, z: walker.z, vx: walker.vx, vz: walker.vz };
  accelerate(body, walker.onGround, wish, h);
  const { floor, ceil } = move(ground, body, body.vx * h, body.vz * h);
  let { y } = body;
  let { vy } = walker;
  if (walker.onGround) {
    if (wish.buttons & BUTTON_JUMP) vy = JUMP;
    else if (floor >= y - STEP) return { ...body, y: floor, vy: 0, onGround: true };
    else vy = -(GRAVITY * h);
  } else {
    vy = vy - GRAVITY * h;
    if (vy < -FALL) vy = -FALL;
  }
  let onGround = false;
  y = y + vy * h;
  if (y + HEIGHT > ceil) {
    y = ceil - HEIGHT;
    if (vy > 0) vy = 0;
  }
  if (y <= floor) {
    y = floor;
    vy = 0;
    onGround = true;
  }
  return { ...body, y, vy, onGround };
}

/** Wish and acceleration (§4.1, §4.2). */
function accelerate(body: Body, onGround: boolean, wish: Wish, h: number): void {
  let wx = wish.moveX / MOVE_UNIT;
  let wz = wish.moveZ / MOVE_UNIT;
  const l2 = wx * wx + wz * wz;
  if (l2 > 1) {
    const l = Math.sqrt(l2);
    wx = wx / l;
    wz = wz / l;
  }
  const speed = wish.buttons & BUTTON_RUN ? RUN : WALK;
  const dvx = wx * speed - body.vx;
  const dvz = wz * speed - body.vz;
  const most = (onGround ? ACCEL_GROUND : ACCEL_AIR) * h;
  const d2 = dvx * dvx + dvz * dvz;
  if (d2 > most * most) {
    const k = most / Math.sqrt(d2);
    body.vx = body.vx + dvx * k;
    body.vz = body.vz + dvz * k;
  } else {
    body.vx = body.vx + dvx;
    body.vz = body.vz + dvz;
  }
}

/** Move horizontally by (mx, mz) (§5); floor and ceiling at the end. */
function move(ground: Ground, body: Body, mx: number, mz: number): Levels {
  const l2 = mx * mx + mz * mz;
  if (l2 <= MOVE * MOVE) return submove(ground, body, mx, mz) ?? levels(ground, body.x, body.y, body.z);
  const length = Math.sqrt(l2);
  let n = 2;
  while (n < SUBMOVES && length > n * MOVE) n++;
  if (length > n * MOVE) {
    const k = (SUBMOVES * MOVE) / length;
    mx = mx * k;
    mz = mz * k;
  }
  const ux = mx / n;
  const uz = mz / n;
  let last: Levels | null = null;
  for (let i = 0; i < n; i++) {
    last = submove(ground, body, ux, uz);
    if (last === null) break;
  }
  return last ?? levels(ground, body.x, body.y, body.z);
}

/** One sub-move: floor and ceiling at its end, or null if it was refused and the body stands where it was. */
function submove(ground: Ground, body: Body, ux: number, uz: number): Levels | null {
  const { x: x0, y, z: z0 } = body;
  const to = { x: x0 + ux, z: z0 + uz };
  if (to.x < ground.minX) {
    to.x = ground.minX;
    if (body.vx < 0) body.vx = 0;
  } else if (to.x > ground.maxX) {
    to.x = ground.maxX;
    if (body.vx > 0) body.vx = 0;
  }
  if (to.z < ground.minZ) {
    to.z = ground.minZ;
    if (body.vz < 0) body.vz = 0;
  } else if (to.z > ground.maxZ) {
    to.z = ground.maxZ;
    if (body.vz > 0) body.vz = 0;
  }
  const obstacles = ground.cell(x0, z0).edges.filter((edge) => edge.top > y + STEP && edge.bottom < y + HEIGHT);
  const fits = obstacles.length === 0 || pushOut(obstacles, body, to);
  const within = to.x >= ground.minX && to.x <= ground.maxX && to.z >= ground.minZ && to.z <= ground.maxZ;
  const near = (to.x - x0) * (to.x - x0) + (to.z - z0) * (to.z - z0) <= REACH * REACH;
  const at = levels(ground, to.x, y, to.z);
  if (!fits || !within || !near || at.floor + HEIGHT > at.ceil) {
    body.vx = 0;
    body.vz = 0;
    return null;
  }
  body.x = to.x;
  body.z = to.z;
  if (at.floor > y) body.y = at.floor;
  return at;
}

/** Push `to` off the nearest obstacle until it touches none; whether it fits then. */
function pushOut(obstacles: readonly Edge[], body: Body, to: { x: number; z: number }): boolean {
  for (let push = 0; push < PUSHES; push++) {
    let [best, qx, qz] = [TOUCH * TOUCH, 0, 0];
    let nearestEdge: Edge | null = null;
    for (const edge of obstacles) {
      const q = nearest(edge, to.x, to.z);
      const first = nearestEdge !== null && q.d2 === best && (q.x < qx || (q.x === qx && q.z < qz));
      if (q.d2 < best || first) {
        [best, qx, qz] = [q.d2, q.x, q.z];
        nearestEdge = edge;
      }
    }
    if (nearestEdge === null) return true;
    let nx: number;
    let nz: number;
    if (best > 0) {
      const d = Math.sqrt(best);
      nx = (to.x - qx) / d;
      nz = (to.z - qz) / d;
    } else {
      const ex = nearestEdge.bx - nearestEdge.ax;
      const ez = nearestEdge.bz - nearestEdge.az;
      const l = Math.sqrt(ex * ex + ez * ez);
      nx = ez / l;
      nz = -ex / l;
    }
    to.x = qx + nx * RADIUS;
    to.z = qz + nz * RADIUS;
    const vn = body.vx * nx + body.vz * nz;
    if (vn < 0) {
      body.vx = body.vx - vn * nx;
      body.vz = body.vz - vn * nz;
    }
  }
  return obstacles.every((edge) => nearest(edge, to.x, to.z).d2 >= FIT * FIT);
}

/** The edge's nearest point to (x, z) and the squared distance (§2). */
export function nearest(edge: Edge, x: number, z: number): { x: number; z: number; d2: number } {
  const { ax, az, bx, bz } = edge;
  const ex = bx - ax;
  const ez = bz - az;
  const dot = (x - ax) * ex + (z - az) * ez;
  const len2 = ex * ex + ez * ez;
  let qx: number;
  let qz: number;
  if (dot <= 0) [qx, qz] = [ax, az];
  else if (dot >= len2) [qx, qz] = [bx, bz];
  else {
    const t = dot / len2;
    qx = ax + t * ex;
    qz = az + t * ez;
  }
  const dx = x - qx;
  const dz = z - qz;
  return { x: qx, z: qz, d2: dx * dx + dz * dz };
}

/** What a body with its feet at (x, y, z) would stand on and hit its head at (§2). */
export function levels(ground: Ground, x: number, y: number, z: number): Levels {
  let floor = 0;
  let ceil = Infinity;
  const cell = ground.cell(x, z);
  const over = y + STEP;
  const head = y + HEIGHT;
  for (const edge of cell.edges) {
    if (edge.top <= over) {
      if (edge.top > floor && nearest(edge, x, z).d2 < FIT * FIT) floor = edge.top;
    } else if (edge.bottom >= head && edge.bottom < ceil && nearest(edge, x, z).d2 < FIT * FIT) ceil = edge.bottom;
  }
  for (const prism of cell.prisms) {
    if (prism.top <= over) {
      if (prism.top > floor && inside(prism.edges, x, z)) floor = prism.top;
    } else if (prism.bottom >= head && prism.bottom < ceil && inside(prism.edges, x, z)) ceil = prism.bottom;
  }
  return { floor, ceil };
}

export function inside(edges: readonly Edge[], x: number, z: number): boolean {
  let odd = false;
  for (const { ax, az, bx, bz } of edges) {
    if (az > z !== bz > z && x < ax + ((z - az) / (bz - az)) * (bx - ax)) odd = !odd;
  }
  return odd;
}
