/** Heat: figures to colours, and cells from their bytes. The scale is told apart by brightness alone, too. */

export type Measure = "entities" | "tick_ms" | "bytes_per_s" | "owner";

const STOPS: readonly (readonly [number, number, number])[] = [
  [18, 26, 42],
  [40, 58, 120],
  [122, 52, 134],
  [214, 78, 78],
  [250, 168, 60],
  [255, 244, 170],
];

/** `part` 0 to 1. */
export function heatColour(part: number): string {
  const at = Math.min(Math.max(part, 0), 1) * (STOPS.length - 1);
  const i = Math.min(Math.floor(at), STOPS.length - 2);
  const [a, b] = [STOPS[i], STOPS[i + 1]];
  if (a === undefined || b === undefined) throw new Error("no stop of the scale");
  const mixed = a.map((from, c) => Math.round(from + ((b[c] ?? 0) - from) * (at - i)));
  return `rgb(${mixed.join(" ")})`;
}

/** Figures spread over decades: a square root keeps small ones in sight. */
export function heatPart(value: number, most: number): number {
  return most > 0 ? Math.sqrt(Math.max(0, value) / most) : 0;
}

/** Neighbours in the list of shards get hues far from each other; none owns −1. */
export function ownerColour(owner: number): string {
  if (owner < 0) return "rgb(96 24 24)";
  const hue = (owner * 137.508) % 360;
  return `hsl(${hue.toFixed(1)} 42% ${owner % 2 === 0 ? 34 : 42}%)`;
}

/** uint16, little-endian, in base64. */
export function decodeCells(counts: string): Uint16Array {
  const bytes = Uint8Array.from(atob(counts), (char) => char.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Uint16Array.from({ length: bytes.length >> 1 }, (_, i) => view.getUint16(2 * i, true));
}
