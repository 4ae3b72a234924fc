/** The last hour: samples put together from answers, and small charts of them. */
import { make } from "./dom";
import { percent, rate, whole } from "./format";
import type { Samples } from "./model";

const KEPT = 720;

/** What has been told of the gateway's ring so far. */
export class History {
  next = 0;
  at: number[] = [];
  readonly series = new Map<string, number[]>();

  add(samples: Samples): void {
    // A gateway that was started anew counts from 0: what is shown of the one before is over.
    if (samples.next < this.next || samples.first > this.next) this.clear();
    this.at = [...this.at, ...samples.at_s].slice(-KEPT);
    for (const [name, values] of Object.entries(samples.series)) {
      this.series.set(name, [...(this.series.get(name) ?? []), ...values].slice(-KEPT));
    }
    this.next = samples.next;
  }

  private clear(): void {
    this.at = [];
    this.series.clear();
  }
}

export interface Plot {
  readonly title: string;
  readonly names: readonly string[];
  readonly say: (value: number) => string;
  /** At least so high, so that noise around 0 is flat. */
  readonly least: number;
}

export const PLOTS: readonly Plot[] = [
  { title: "Sessions", names: ["sessions"], say: whole, least: 10 },
  { title: "Entities", names: ["entities"], say: whole, least: 10 },
  { title: "Load of shards: most, mean", names: ["load_max", "load_mean"], say: percent, least: 1 },
  { title: "Tick of this gateway, p99", names: ["tick_ms"], say: (ms) => `${ms.toFixed(1)} ms`, least: 50 },
  { title: "This gateway: out, in", names: ["bytes_out", "bytes_in"], say: rate, least: 1000 },
  { title: "Regions with no owner", names: ["without_owner"], say: whole, least: 4 },
];
const COLOURS = ["#6cb6ff", "#f2b24a"];
const HOUR_S = 3600;

function drawPlot(canvas: HTMLCanvasElement, history: History, plot: Plot): void {
  const context = canvas.getContext("2d");
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (context === null || width === 0) return;
  const scale = devicePixelRatio;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  const all = plot.names.map((name) => history.series.get(name) ?? []);
  const most = Math.max(plot.least, ...all.flat());
  const now = history.at.at(-1) ?? 0;
  context.strokeStyle = "rgb(255 255 255 / 12%)";
  context.lineWidth = 1;
  for (const part of [0, 0.5, 1]) {
    context.beginPath();
    context.moveTo(0, height - 1 - part * (height - 4));
    context.lineTo(width, height - 1 - part * (height - 4));
    context.stroke();
  }
  all.forEach((values, k) => {
    context.strokeStyle = COLOURS[k] ?? "#fff";
    context.lineWidth = 1.6;
    context.beginPath();
    values.forEach((value, i) => {
      const x = width - (now - (history.at[i] ?? now)) * (width / HOUR_S);
      const y = height - 1 - (value / most) * (height - 4);
      if (i === 0) context.moveTo(x, y);
      else context.lineTo(x, y);
    });
    context.stroke();
  });
}

/** The newest figures of a plot, and its top. */
export function latest(history: History, plot: Plot): { now: string; top: string } {
  const values = plot.names.map((name) => history.series.get(name) ?? []);
  const now = values.map((series) => plot.say(series.at(-1) ?? 0)).join(", ");
  return { now, top: plot.say(Math.max(plot.least, ...values.flat())) };
}

/** All charts, into `plots`. */
export function showCharts(plots: HTMLElement, history: History): void {
  if (plots.childElementCount === 0) {
    plots.append(
      ...PLOTS.map((plot) =>
        make(
          "figure",
          {},
          make("figcaption", {}, make("span", {}, plot.title), make("b"), make("small")),
          make("canvas", { role: "img" }),
        ),
      ),
    );
  }
  PLOTS.forEach((plot, k) => {
    const figure = plots.children[k];
    const [canvas, value, high] = [
      figure?.querySelector("canvas"),
      figure?.querySelector("b"),
      figure?.querySelector("small"),
    ];
    if (canvas == null || value == null || high == null) return;
    const { now, top } = latest(history, plot);
    value.textContent = now;
    high.textContent = `top ${top}`;
    canvas.setAttribute("aria-label", `${plot.title} over the last hour: now ${now}`);
    drawPlot(canvas, history, plot);
  });
}
