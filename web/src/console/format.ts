/** Figures as operators read them. */

const THOUSANDS = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function whole(value: number): string {
  return THOUSANDS.format(value);
}

/** Bytes per second in the largest unit that keeps a figure before the point. */
export function rate(bytesPerS: number): string {
  let value = bytesPerS;
  for (const unit of ["B/s", "kB/s", "MB/s"]) {
    if (value < 1000) return `${value < 10 && unit !== "B/s" ? value.toFixed(1) : value.toFixed(0)} ${unit}`;
    value /= 1000;
  }
  return `${value.toFixed(1)} GB/s`;
}

export function size(bytes: number): string {
  return rate(bytes).replace("/s", "");
}

export function ago(seconds: number): string {
  if (seconds >= 3600) return `${Math.round(seconds / 3600)} h ago`;
  if (seconds >= 60) return `${Math.round(seconds / 60)} min ago`;
  return `${Math.round(seconds)} s ago`;
}

export function percent(part: number): string {
  return `${(part * 100).toFixed(part < 0.1 ? 1 : 0)} %`;
}

/** A request of the log in words: `do` first, then its fields. */
export function inWords(what: Readonly<Record<string, unknown>>): string {
  const { do: verb, ...rest } = what;
  const said = Object.entries(rest)
    .filter(([, value]) => value !== "")
    .map(
      ([name, value]) =>
        `${name === verb ? "" : `${name} `}${typeof value === "string" ? value : JSON.stringify(value)}`,
    );
  return [String(verb), ...said].join(", ").replace(",", "");
}
