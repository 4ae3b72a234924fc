/** The lists beside the map: what is in them, and which act each button asks for. */
import { button, make, table } from "./dom";
import { ago, inWords, percent, rate, size, whole } from "./format";
import type { LogEntry, Orders, Overview, People, ProfileRow, SessionRow, Standing } from "./model";

const REGIONS_SHOWN = 60;

/** What the buttons ask for; each is confirmed before it is done. */
export interface Wishes {
  choose(region: number): void;
  drain(member: string, isHere: boolean): void;
  explain(row: SessionRow): void;
  kick(row: SessionRow): void;
  mute(row: SessionRow): void;
  ban(row: SessionRow): void;
  takeBack(what: "unban" | "unmute", standing: Standing): void;
  change(profile: ProfileRow): void;
}

function load(value: number): HTMLElement {
  const meter = make("meter", { "aria-hidden": "true", min: "0", max: "1", low: "0.5", high: "0.8", optimum: "0" });
  meter.value = value;
  return make("span", { class: "load" }, meter, ` ${percent(value)}`);
}

function drainButton(name: string, isDraining: boolean, isCluster: boolean, wish: () => void): HTMLElement {
  if (isDraining) return make("span", { class: "mark" }, "drains");
  return isCluster ? button("Drain…", `Drain ${name}`, wish) : make("span");
}

export function members(overview: Overview, wishes: Wishes): readonly Node[] {
  const { shards, gateways, placers, is_cluster: isCluster } = overview;
  const drains = (name: string, isDraining: boolean, isHere = false) =>
    drainButton(name, isDraining, isCluster, () => {
      wishes.drain(name, isHere);
    });
  return [
    table(
      `${shards.length} ${shards.length === 1 ? "shard" : "shards"}`,
      ["name", "load", ">regions", ">entities", ">to gateways", ""],
      shards.map((s, k) => [
        make("span", {}, make("i", { class: "owner", "data-owner": String(k) }), s.name),
        load(s.load),
        whole(s.regions),
        whole(s.entities),
        rate(s.bytes_per_s),
        make(
          "span",
          {},
          ...(s.durable_away ? [make("span", { class: "mark bad" }, "no durable store")] : []),
          drains(s.name, s.draining),
        ),
      ]),
    ),
    table(
      `${gateways.length} ${gateways.length === 1 ? "gateway" : "gateways"}`,
      ["name", "load", ">sessions", ">to clients", ""],
      gateways.map((g) => [
        make("span", {}, g.name, ...(g.here ? [make("span", { class: "mark" }, "here")] : [])),
        load(g.load),
        whole(g.sessions),
        rate(g.bytes_per_s),
        drains(g.name, g.draining, g.here),
      ]),
    ),
    ...(placers.length === 0
      ? []
      : [
          table(
            `${placers.length} ${placers.length === 1 ? "placer" : "placers"}`,
            ["name", "", ""],
            placers.map((p) => [p.name, p.places ? "places" : "stands by", drains(p.name, p.draining)]),
          ),
        ]),
    ...(overview.moves.length === 0
      ? []
      : [
          table(
            "Regions that changed their owner lately",
            [">region", "from", "to", "how", ">when"],
            overview.moves.map((m) => [String(m.region), m.from, m.to, m.how, ago(m.ago_s)]),
          ),
        ]),
  ];
}

export function regions(overview: Overview, measure: keyof Overview["regions"], wishes: Wishes): Node {
  const { regions: r, shards } = overview;
  const order = r.region.map((_, k) => k);
  const by = r[measure];
  order.sort((a, b) => Number((r.owner[a] ?? 0) >= 0) - Number((r.owner[b] ?? 0) >= 0) || (by[b] ?? 0) - (by[a] ?? 0));
  const shown = order.slice(0, REGIONS_SHOWN);
  const rest = overview.regions_total - shown.length;
  return table(
    `${whole(overview.regions_total)} regions, the hottest first${rest > 0 ? `; ${whole(rest)} more are on the map` : ""}`,
    [">region", "owner", ">entities", ">ms a tick", ">to gateways", ">seen by", ""],
    shown.map((k) => {
      const region = r.region[k] ?? 0;
      const owner = r.owner[k] ?? -1;
      return [
        String(region),
        owner < 0 ? make("span", { class: "mark bad" }, "nobody") : (shards[owner]?.name ?? ""),
        whole(r.entities[k] ?? 0),
        (r.tick_ms[k] ?? 0).toFixed(2),
        rate(r.bytes_per_s[k] ?? 0),
        whole(r.seen_by[k] ?? 0),
        button("Show", `Show region ${region}`, () => {
          wishes.choose(region);
        }),
      ];
    }),
  );
}

export function people(found: People, wishes: Wishes): Node {
  return table(
    `${whole(found.total)} sessions`,
    ["name", "profile", "where", ">told of", ">round trip", ">sent", ""],
    found.sessions.map((row) => [
      make(
        "span",
        { class: "who", title: row.subject ?? "" },
        row.name,
        ...(row.muted === true ? [make("span", { class: "mark" }, "muted")] : []),
        make("small", {}, row.session),
      ),
      row.here ? `${row.profile ?? ""}${row.by_datagrams === true ? ", datagrams" : ""}` : `at ${row.gateway}`,
      row.region === undefined
        ? (row.state ?? "")
        : make("span", { title: `${row.x_m ?? 0}, ${row.z_m ?? 0}` }, `region ${row.region}`),
      row.told_of === undefined ? "" : whole(row.told_of),
      row.rtt_ms == null ? "" : `${row.rtt_ms} ms`,
      row.written_bytes === undefined ? "" : size(row.written_bytes),
      make(
        "span",
        { class: "acts" },
        ...(row.here
          ? [
              button("Why", `What ${row.name} is told, and why`, () => {
                wishes.explain(row);
              }),
            ]
          : []),
        button("Kick…", `Kick ${row.name}`, () => {
          wishes.kick(row);
        }),
        button("Mute…", `Mute ${row.name}`, () => {
          wishes.mute(row);
        }),
        button("Ban…", `Ban ${row.name}`, () => {
          wishes.ban(row);
        }),
      ),
    ]),
  );
}

function standing(caption: string, what: "unban" | "unmute", all: readonly Standing[], wishes: Wishes): Node {
  if (all.length === 0) return make("p", { class: "none" }, `${caption}: none`);
  return table(
    `${caption}: ${all.length}`,
    ["name", "until", "reason", "by", ""],
    all.map((s) => [
      s.name,
      s.until_s === null ? "taken back" : new Date(s.until_s * 1000).toLocaleString(),
      s.reason,
      s.by,
      button("Take back…", `${what === "unban" ? "Unban" : "Unmute"} ${s.name}`, () => {
        wishes.takeBack(what, s);
      }),
    ]),
  );
}

export function orders(all: Orders, wishes: Wishes): readonly Node[] {
  return [
    table(
      "Profiles: what clients are told by now",
      ["profile", ">sessions", ">frames/s", ">radius", ">near", ">told of", ">budget", ""],
      all.profiles.map((p) => [
        make(
          "span",
          {},
          p.profile,
          ...(p.changed === null
            ? []
            : [make("span", { class: "mark", title: JSON.stringify(p.changed.values) }, `changed by ${p.changed.by}`)]),
        ),
        whole(p.sessions),
        p.rate_hz.toFixed(0),
        `${p.now.radius_m ?? 0} m`,
        `${p.now.near_radius_m ?? 0} m`,
        whole(p.now.cap ?? 0),
        p.now.bytes_per_s === 0 ? "none" : rate(p.now.bytes_per_s ?? 0),
        button("Change…", `Change profile ${p.profile}`, () => {
          wishes.change(p);
        }),
      ]),
    ),
    standing("Bans", "unban", all.bans, wishes),
    standing("Mutes", "unmute", all.mutes, wishes),
  ];
}

export function log(file: string, entries: readonly LogEntry[]): readonly Node[] {
  const rows = entries.map((entry) => [
    String(entry.number),
    make("time", { datetime: entry.at, title: entry.at }, new Date(entry.at).toLocaleTimeString()),
    entry.operator,
    make("span", { class: `mark ${entry.state}` }, entry.of === 0 ? entry.state : `${entry.state} (${entry.of})`),
    inWords(entry.what),
    entry.result,
  ]);
  return [
    table("What operators did, the newest first", [">no.", "at", "operator", "state", "what", "what came of it"], rows),
    make("p", { class: "none" }, `Kept in ${file}; \`isthmus audit\` checks that nothing was altered.`),
  ];
}
