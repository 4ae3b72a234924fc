/** The chosen region: what it holds, and what may be done with it. */
import type { Acts } from "./acts";
import { button, make } from "./dom";
import { rate, whole } from "./format";
import type { Overview } from "./model";

export class RegionCard {
  private shown = "";

  constructor(
    private readonly card: HTMLElement,
    private readonly acts: Acts,
  ) {}

  show(overview: Overview, chosen: number | null): void {
    const { regions: r, shards, is_cluster: isCluster } = overview;
    const k = chosen === null ? -1 : r.region.indexOf(chosen);
    if (k < 0) {
      this.shown = "";
      const text = `Choose a region to see what it holds${isCluster ? " and to move, split or merge it" : ""}.`;
      this.card.replaceChildren(make("p", { class: "none" }, text));
      return;
    }
    const number = r.region[k] ?? 0;
    const owner = shards[r.owner[k] ?? -1]?.name ?? "nobody";
    const asked = overview.asks.find(([asking]) => asking === number);
    const figures = [
      `${whole(r.entities[k] ?? 0)} entities`,
      `${(r.tick_ms[k] ?? 0).toFixed(2)} ms a tick`,
      `${rate(r.bytes_per_s[k] ?? 0)} to gateways`,
      `seen by ${whole(r.seen_by[k] ?? 0)}`,
      `epoch ${r.epoch[k] ?? 0}`,
      ...(asked === undefined ? [] : [`on its way to ${asked[1]}`]),
    ].join(" · ");
    const shape = JSON.stringify([number, owner, shards.map((shard) => shard.name)]);
    if (shape === this.shown) {
      // What is about to be pressed stays where it is: the figures alone are new.
      const line = this.card.querySelector(".figures");
      if (line !== null) line.textContent = figures;
      return;
    }
    this.shown = shape;
    this.card.replaceChildren(
      make("h3", {}, `Region ${number} · ${owner}`),
      make("p", { class: "figures" }, figures),
      ...(isCluster
        ? [
            this.buttons(
              number,
              owner,
              shards.map((shard) => shard.name),
            ),
          ]
        : []),
    );
  }

  private buttons(number: number, owner: string, shards: readonly string[]): HTMLElement {
    const others = shards.filter((name) => name !== owner);
    const to = make("select", { id: "to" }, ...others.map((name) => make("option", {}, name)));
    const move = button("Move…", `Move region ${number}`, () => {
      this.acts.move(number, owner, to.value);
    });
    move.disabled = others.length === 0;
    return make(
      "div",
      { class: "acts" },
      make("label", { for: "to" }, "to"),
      to,
      move,
      button("Split…", `Split region ${number}`, () => {
        this.acts.split(number);
      }),
      button("Merge…", `Merge region ${number}`, () => {
        this.acts.merge(number);
      }),
    );
  }
}
