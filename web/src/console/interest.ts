/** The interest debugger: what one client is told, drawn around it and as a table, and why not what it is not told. */
import { button, make, replace, table } from "./dom";
import { rate, size, whole } from "./format";
import type { Interest, ToldEntity } from "./model";

const SHOWN = 200;
export const WHY: Readonly<Record<string, string>> = {
  sent: "due, and fits the next frame",
  exact: "exact enough: nothing is due",
  on_way: "on its way, not acknowledged yet",
  waits: "due, and does not fit the frame",
  leaves: "leaves with the next frame",
  enters: "enters with the next frame",
  own_body: "its own body",
  beyond_radius: "beyond the radius",
  beyond_cap: "beyond the cap: in the crowd",
  cap: "all places are taken",
  budget: "does not fit the frame",
  numbers: "no number is free",
  held: "no frame goes out",
  out_of_reach: "too far above or below",
  not_mirrored: "in no region mirrored here",
};

/** What stands above the tables. */
export function facts(interest: Interest): readonly (readonly [string, string])[] {
  const v = interest.view;
  const next = v.next_frame;
  return [
    ["frames", v.held_text],
    [
      "told of",
      `${whole(v.told_of)} of at most ${whole(v.cap)}; ${whole(v.in_range)} in range${v.crowded ? ", a crowd" : ""}`,
    ],
    [
      "reach",
      `${v.reach_m} m of ${v.radius_m} m; leaves beyond ${v.leave_radius_m} m; near within ${v.near_radius_m} m`,
    ],
    [
      "next frame",
      `${size(v.budget_bytes)}: ${Object.entries(next)
        .map(([name, n]) => `${n} ${name}`)
        .join(", ")}`,
    ],
    [
      "due",
      v.due === 0 ? "nothing waits" : `${whole(v.due)} updates wait, the oldest for ${whole(v.oldest_due_ms)} ms`,
    ],
    ["budget", v.bytes_per_s === 0 ? "none" : `${rate(v.bytes_per_s)}, ${size(Math.max(0, v.allowance_bytes))} saved`],
    [
      "way",
      `holds ${size(v.window_bytes)}, ${size(v.on_way_bytes)} on it; round trip ${v.rtt_ms === null ? "unknown" : `${v.rtt_ms} ms`}, by ${v.by_datagrams ? "datagrams" : "WebSocket"}`,
    ],
  ];
}

function who(e: ToldEntity): string {
  return `${e.kind} ${e.entity}${e.name === "" ? "" : ` (${e.name})`}`;
}

/** Names the session, asks about an entity, and closes. */
export interface Asks {
  about(entity: string): void;
  close(): void;
}

export class InterestView {
  private readonly canvas = make("canvas", { class: "around", role: "img" });
  private readonly list = make("dl");
  private readonly told = make("div");
  private readonly other = make("div");
  private readonly answer = make("p", { role: "status", class: "answer" });
  private readonly title = make("h2", { id: "interest-title" });

  constructor(parent: HTMLElement, asks: Asks) {
    const input = make("input", {
      id: "about",
      inputmode: "numeric",
      pattern: "[0-9]{1,20}",
      autocomplete: "off",
      required: "",
    });
    const form = make(
      "form",
      {},
      make("label", { for: "about" }, "Why, or why not, entity"),
      input,
      make("button", { type: "submit" }, "Ask"),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      asks.about(input.value.trim());
    });
    const close = button("Close", "Close the interest debugger", () => {
      asks.close();
    });
    parent.replaceChildren(
      make("div", { class: "bar" }, this.title, form, close),
      this.answer,
      make("div", { class: "seen" }, this.canvas, this.list),
      make("div", { class: "two" }, this.told, this.other),
    );
  }

  fail(text: string): void {
    this.answer.textContent = text;
  }

  show(interest: Interest): void {
    this.title.textContent = `What ${interest.name} is told (${interest.profile}), tick ${interest.tick}`;
    this.list.replaceChildren(
      ...facts(interest).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]),
    );
    const { entity } = interest;
    this.answer.textContent = entity === null ? "" : `${who(entity)}: ${entity.text ?? WHY[entity.why] ?? entity.why}`;
    const shown = interest.entities.slice(0, SHOWN);
    replace(
      this.told,
      table(
        `Told of: ${interest.view.told_of}${shown.length < interest.view.told_of ? `, the nearest ${shown.length}` : ""}`,
        ["entity", ">distance", "level", ">priority", ">record from", ">waited", "why"],
        shown.map((e) => [
          who(e),
          `${(e.distance_m ?? 0).toFixed(1)} m`,
          e.level ?? "",
          e.due === true ? whole(e.priority ?? 0) : "",
          `${whole(e.age_ms ?? 0)} ms ago`,
          e.waited_frames === 0 ? "" : `${whole(e.waited_frames ?? 0)} frames`,
          make("span", { class: `mark ${e.why}` }, WHY[e.why] ?? e.why),
        ]),
      ),
    );
    replace(
      this.other,
      table(
        "Not told of: the nearest",
        ["entity", ">distance", "why not"],
        interest.not_told.map((e) => [who(e), `${(e.distance_m ?? 0).toFixed(1)} m`, e.text ?? WHY[e.why] ?? e.why]),
      ),
    );
    this.draw(interest);
  }

  /** Distances alone are known: entities are spread around by their number, so that each keeps its place. */
  private draw(interest: Interest): void {
    const { canvas } = this;
    const context = canvas.getContext("2d");
    const side = canvas.clientWidth;
    if (context === null || side === 0) return;
    canvas.setAttribute("aria-label", `Distances of ${interest.entities.length} entities, as in the table`);
    canvas.width = canvas.height = Math.round(side * devicePixelRatio);
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    const v = interest.view;
    const metre = side / 2 / (v.leave_radius_m * 1.05);
    const ring = (radius: number, style: string, dash: number[]) => {
      context.beginPath();
      context.setLineDash(dash);
      context.strokeStyle = style;
      context.arc(side / 2, side / 2, radius * metre, 0, 2 * Math.PI);
      context.stroke();
    };
    ring(v.leave_radius_m, "rgb(255 255 255 / 30%)", [3, 4]);
    ring(v.radius_m, "rgb(255 255 255 / 60%)", []);
    ring(v.reach_m, "#f2b24a", []);
    ring(v.near_radius_m, "#6cb6ff", [2, 3]);
    ring(Math.min(v.outer_radius_m, v.radius_m), "rgb(180 140 255 / 60%)", [2, 3]);
    context.setLineDash([]);
    const colours: Readonly<Record<string, string>> = {
      sent: "#7ee787",
      exact: "#9fb3c8",
      waits: "#ff7b72",
      on_way: "#6cb6ff",
    };
    const dot = (e: ToldEntity, fallback: string) => {
      const angle = (Number(e.entity.slice(-6)) * 2.399963) % (2 * Math.PI);
      const far = (e.distance_m ?? 0) * metre;
      context.fillStyle = colours[e.why] ?? fallback;
      context.fillRect(side / 2 + Math.cos(angle) * far - 2, side / 2 + Math.sin(angle) * far - 2, 4, 4);
    };
    for (const e of interest.not_told) if ((e.distance_m ?? 1e9) * metre < side / 2) dot(e, "#5b6673");
    for (const e of interest.entities) dot(e, "#f2b24a");
  }
}
