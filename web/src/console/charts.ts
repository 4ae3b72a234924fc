/** Draws the charts of the last hour. */
import { make } from "./dom";
import { latest, PLOTS, type History, type Plot } from "./history";

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
