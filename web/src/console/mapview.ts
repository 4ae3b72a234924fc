/** Draws the map: regions by heat or owner, their borders, the cells of what this gateway mirrors, the chosen region. */
import { decodeCells, heatColour, heatPart, ownerColour, type Measure } from "./heat";
import type { Overview } from "./model";
import { beside, squareAt, squareOf, type Square } from "./quadtree";
import { Viewport } from "./viewport";

const LABEL_LEAST_PX = 46;
/** The brightest of the scale is left to cells and labels. */
export const HEAT_MOST = 0.8;
/** Cells that are smaller have no outline: where there are many it would be all that is seen. */
const OUTLINED_LEAST_PX = 7;
const WHEEL = 1.2;
const KEY_ZOOM = 1.6;
const CLICK_MOST_PX = 4;

export class MapView {
  readonly viewport = new Viewport(1);
  measure: Measure = "entities";
  chosen: number | null = null;
  onChosen: (region: number | null) => void = () => undefined;
  onMoved: () => void = () => undefined;
  private overview: Overview | null = null;
  private squares: readonly Square[] = [];
  private cells: Uint16Array = new Uint16Array(0);
  private drag: { x: number; y: number; far: number } | null = null;

  constructor(private readonly canvas: HTMLCanvasElement) {
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const [px, pz] = this.partOf(event);
      this.viewport.zoom(event.deltaY > 0 ? WHEEL : 1 / WHEEL, px, pz);
      this.moved();
    });
    canvas.addEventListener("pointerdown", (event) => {
      this.drag = { x: event.clientX, y: event.clientY, far: 0 };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.drag === null) return;
      const [dx, dy] = [event.clientX - this.drag.x, event.clientY - this.drag.y];
      this.drag = { x: event.clientX, y: event.clientY, far: this.drag.far + Math.hypot(dx, dy) };
      if (this.drag.far <= CLICK_MOST_PX) return;
      this.viewport.pan(dx / canvas.clientWidth, dy / canvas.clientHeight);
      this.moved();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (this.drag !== null && this.drag.far <= CLICK_MOST_PX) {
        const [px, pz] = this.partOf(event);
        const { x, z, side } = this.viewport;
        this.choose(this.regionOf(squareAt(this.squares, x + px * side, z + pz * side)));
      }
      this.drag = null;
    });
    canvas.addEventListener("keydown", (event) => {
      this.pressed(event);
    });
    new ResizeObserver(() => {
      this.draw();
    }).observe(canvas);
  }

  show(overview: Overview): void {
    this.overview = overview;
    this.viewport.setWorld(overview.side_m);
    this.squares = overview.regions.region.map((region) => squareOf(region, overview.side_m));
    this.cells = decodeCells(overview.cells.counts);
    this.draw();
  }

  choose(region: number | null): void {
    this.chosen = region;
    if (region !== null && this.overview !== null) this.viewport.show(squareOf(region, this.overview.side_m));
    this.onChosen(region);
    this.draw();
  }

  /** The greatest figure of a region now. */
  get most(): number {
    if (this.overview === null || this.measure === "owner") return 0;
    return this.overview.regions[this.measure].reduce((most, value) => Math.max(most, value), 0);
  }

  whole(): void {
    this.viewport.whole();
    this.moved();
  }

  private regionOf(index: number): number | null {
    return this.overview?.regions.region[index] ?? null;
  }

  private partOf(event: MouseEvent): readonly [number, number] {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  private moved(): void {
    this.draw();
    this.onMoved();
  }

  private pressed(event: KeyboardEvent): void {
    const arrows: Readonly<Record<string, readonly [number, number]>> = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    };
    const arrow = arrows[event.key];
    if (arrow !== undefined) {
      const from = this.overview?.regions.region.indexOf(this.chosen ?? -1) ?? -1;
      this.choose(this.regionOf(beside(this.squares, from, ...arrow)));
    } else if (event.key === "+" || event.key === "=") this.viewport.zoom(1 / KEY_ZOOM, 0.5, 0.5);
    else if (event.key === "-") this.viewport.zoom(KEY_ZOOM, 0.5, 0.5);
    else if (event.key === "0") this.viewport.whole();
    else if (event.key === "Escape") this.choose(null);
    else return;
    event.preventDefault();
    this.moved();
  }

  draw(): void {
    const { canvas, overview } = this;
    const context = canvas.getContext("2d");
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (context === null || width === 0) return;
    const scale = devicePixelRatio;
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.fillStyle = "#0b1018";
    context.fillRect(0, 0, width, height);
    if (overview === null) return;
    this.drawRegions(context, overview, width, height);
    if (this.measure === "entities" || this.measure === "owner") this.drawCells(context, overview, width, height);
    this.drawBorders(context, overview, width, height);
  }

  private box(s: Square, width: number, height: number): readonly [number, number, number, number] {
    const [px, pz] = this.viewport.at(s.x, s.z);
    const part = s.side / this.viewport.side;
    return [px * width, pz * height, part * width, part * height];
  }

  private drawRegions(context: CanvasRenderingContext2D, overview: Overview, width: number, height: number): void {
    const { most } = this;
    const { regions } = overview;
    this.squares.forEach((square, k) => {
      const owner = regions.owner[k] ?? -1;
      if (this.measure === "owner" || owner < 0) context.fillStyle = ownerColour(owner);
      else {
        context.fillStyle = heatColour(heatPart(regions[this.measure][k] ?? 0, most) * HEAT_MOST);
      }
      context.fillRect(...this.box(square, width, height));
    });
  }

  private drawCells(context: CanvasRenderingContext2D, overview: Overview, width: number, height: number): void {
    const { x_m, z_m, side_m, across } = overview.cells;
    const side = side_m / across;
    const most = this.cells.reduce((a, b) => Math.max(a, b), 1);
    context.fillStyle = "#fff";
    context.strokeStyle = "rgb(0 0 0 / 70%)";
    context.lineWidth = 1;
    this.cells.forEach((count, at) => {
      if (count === 0) return;
      const square = { x: x_m + (at % across) * side, z: z_m + Math.floor(at / across) * side, side };
      const [left, top, w, h] = this.box(square, width, height);
      // The more, the larger: a full cell is filled, one entity is a speck.
      const part = 0.25 + 0.65 * heatPart(count, most);
      context.globalAlpha = 0.25 + 0.6 * heatPart(count, most);
      const box = [left + (w * (1 - part)) / 2, top + (h * (1 - part)) / 2, w * part, h * part] as const;
      context.fillRect(...box);
      if (w > OUTLINED_LEAST_PX) context.strokeRect(...box);
    });
    context.globalAlpha = 1;
  }

  private drawBorders(context: CanvasRenderingContext2D, overview: Overview, width: number, height: number): void {
    const { regions, shards } = overview;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "top";
    this.squares.forEach((square, k) => {
      const [left, top, w, h] = this.box(square, width, height);
      const owner = regions.owner[k] ?? -1;
      context.lineWidth = 1;
      context.strokeStyle = "rgb(255 255 255 / 22%)";
      context.strokeRect(left + 0.5, top + 0.5, w - 1, h - 1);
      if (w < LABEL_LEAST_PX) return;
      const name = owner < 0 ? "no owner" : (shards[owner]?.name ?? "");
      const lines = h > 34 ? [String(regions.region[k] ?? ""), name] : [String(regions.region[k] ?? "")];
      context.save();
      context.beginPath();
      context.rect(left, top, w - 2, h);
      context.clip();
      const wide = Math.max(...lines.map((line, i) => context.measureText(line).width + (i === 0 ? 12 : 0)));
      context.fillStyle = "rgb(8 13 22 / 72%)";
      context.fillRect(left + 1, top + 1, wide + 7, lines.length * 13 + 3);
      context.fillStyle = ownerColour(owner);
      context.fillRect(left + 4, top + 4, 8, 8);
      context.fillStyle = "#fff";
      lines.forEach((line, i) => {
        context.fillText(line, left + (i === 0 ? 16 : 4), top + 3 + 13 * i);
      });
      context.restore();
    });
    if (this.chosen === null) return;
    context.lineWidth = 3;
    context.strokeStyle = "#ffd24a";
    const [left, top, w, h] = this.box(squareOf(this.chosen, overview.side_m), width, height);
    context.strokeRect(left + 1.5, top + 1.5, w - 3, h - 3);
  }
}
