/** The last hour: samples put together from answers, and what charts there are of them. */
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

/** The newest figures of a plot, and its top. */
export function latest(history: History, plot: Plot): { now: string; top: string } {
  const values = plot.names.map((name) => history.series.get(name) ?? []);
  const now = values.map((series) => plot.say(series.at(-1) ?? 0)).join(", ");
  return { now, top: plot.say(Math.max(plot.least, ...values.flat())) };
}
