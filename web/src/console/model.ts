/** What the operators' API answers (docs/CONSOLE.md). Numbers of sessions and entities are texts: they pass 2**53. */

export interface Shard {
  readonly name: string;
  readonly load: number;
  readonly regions: number;
  readonly entities: number;
  readonly bytes_per_s: number;
  readonly draining: boolean;
  readonly durable_away: boolean;
}

export interface Gateway {
  readonly name: string;
  readonly load: number;
  readonly sessions: number;
  readonly bytes_per_s: number;
  readonly draining: boolean;
  readonly url: string;
  readonly here: boolean;
}

export interface Placer {
  readonly name: string;
  readonly places: boolean;
  readonly draining: boolean;
}

/** Columns: the k-th entries of all are one region. `owner` is an index into the shards, or −1. */
export interface Regions {
  readonly region: readonly number[];
  readonly owner: readonly number[];
  readonly epoch: readonly number[];
  readonly entities: readonly number[];
  readonly tick_ms: readonly number[];
  readonly bytes_per_s: readonly number[];
  readonly seen_by: readonly number[];
  readonly mirrored: readonly number[];
}

export interface Cells {
  readonly x_m: number;
  readonly z_m: number;
  readonly side_m: number;
  readonly across: number;
  readonly counts: string;
}

export interface Overview {
  readonly world: string;
  readonly member: string;
  readonly is_cluster: boolean;
  readonly tick: number;
  readonly rate_hz: number;
  readonly side_m: number;
  readonly online: number;
  readonly sessions: number;
  readonly entities: number;
  readonly mirrored_entities: number;
  readonly regions_total: number;
  readonly without_owner: number;
  readonly warnings: readonly string[];
  readonly log: number;
  readonly shards: readonly Shard[];
  readonly gateways: readonly Gateway[];
  readonly placers: readonly Placer[];
  readonly regions: Regions;
  readonly cells: Cells;
  readonly asks: readonly (readonly [number, string])[];
  readonly wishes: readonly (readonly [number, string])[];
  readonly moves: readonly {
    readonly region: number;
    readonly from: string;
    readonly to: string;
    readonly how: string;
    readonly ago_s: number;
  }[];
}

export interface Samples {
  readonly first: number;
  readonly next: number;
  readonly every_s: number;
  readonly at_s: readonly number[];
  readonly series: Readonly<Record<string, readonly number[]>>;
}

export interface SessionRow {
  readonly session: string;
  readonly body: string | null;
  readonly name: string;
  readonly gateway: string;
  readonly here: boolean;
  readonly profile?: string;
  readonly state?: string;
  readonly subject?: string;
  readonly muted?: boolean;
  readonly region?: number;
  readonly x_m?: number;
  readonly z_m?: number;
  readonly told_of?: number;
  readonly rtt_ms?: number | null;
  readonly written_bytes?: number;
  readonly by_datagrams?: boolean;
}

export interface People {
  readonly total: number;
  readonly page: number;
  readonly size: number;
  readonly sessions: readonly SessionRow[];
}

export interface Standing {
  readonly key: string;
  readonly name: string;
  readonly until_s: number | null;
  readonly reason: string;
  readonly by: string;
}

export interface ProfileRow {
  readonly profile: string;
  readonly now: Readonly<Record<string, number>>;
  readonly rate_hz: number;
  readonly sessions: number;
  readonly changed: { readonly values: Readonly<Record<string, number>>; readonly by: string } | null;
}

export interface Orders {
  readonly bans: readonly Standing[];
  readonly mutes: readonly Standing[];
  readonly profiles: readonly ProfileRow[];
}

export interface LogEntry {
  readonly number: number;
  readonly at: string;
  readonly operator: string;
  readonly state: string;
  readonly what: Readonly<Record<string, unknown>>;
  readonly result: string;
  readonly of: number;
}

export interface ToldEntity {
  readonly entity: string;
  readonly kind: string;
  readonly name: string;
  readonly distance_m: number | null;
  readonly why: string;
  readonly text?: string;
  readonly level?: string;
  readonly due?: boolean;
  readonly age_ms?: number;
  readonly priority?: number;
  readonly waited_frames?: number;
}

export interface Interest {
  readonly session: string;
  readonly name: string;
  readonly profile: string;
  readonly tick: number;
  readonly view: {
    readonly x_m: number;
    readonly z_m: number;
    readonly radius_m: number;
    readonly leave_radius_m: number;
    readonly near_radius_m: number;
    readonly outer_radius_m: number;
    readonly cap: number;
    readonly in_range: number;
    readonly reach_m: number;
    readonly crowded: boolean;
    readonly told_of: number;
    readonly every_ticks: number;
    readonly bytes_per_s: number;
    readonly allowance_bytes: number;
    readonly window_bytes: number;
    readonly on_way_bytes: number;
    readonly rtt_ms: number | null;
    readonly by_datagrams: boolean;
    readonly budget_bytes: number;
    readonly due: number;
    readonly oldest_due_ms: number;
    readonly held: string;
    readonly held_text: string;
    readonly next_frame: Readonly<Record<string, number>>;
    readonly mirrored_regions: readonly number[];
  };
  readonly entities: readonly ToldEntity[];
  readonly not_told: readonly ToldEntity[];
  readonly entity: ToldEntity | null;
}

/** What an operator asks to be done. */
export type Act =
  | { readonly do: "move"; readonly region: number; readonly to: string }
  | { readonly do: "split" | "merge"; readonly region: number }
  | { readonly do: "drain"; readonly member: string }
  | { readonly do: "kick"; readonly session: string; readonly reason: string }
  | { readonly do: "ban" | "mute"; readonly session: string; readonly hours: number; readonly reason: string }
  | { readonly do: "unban" | "unmute"; readonly key: string }
  | { readonly do: "broadcast"; readonly text: string }
  | { readonly do: "profile"; readonly profile: string; readonly values: Readonly<Record<string, number>> };
