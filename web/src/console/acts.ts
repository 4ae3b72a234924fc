/** What an operator can ask for: each act is said in words, confirmed, and then handed to `ask`. */
import { confirmed, type Field } from "./confirm";
import type { Act, ProfileRow, SessionRow, Standing } from "./model";
import type { Wishes } from "./panels";

export type Ask = (act: Act) => Promise<void>;

const HOURS: Field = {
  name: "hours",
  label: "Hours (0: until it is taken back)",
  type: "number",
  value: "24",
  step: "any",
};
const REASON: Field = { name: "reason", label: "Reason, told to them", type: "text", maxLength: 200 };
const TEXT: Field = { name: "text", label: "What everybody reads", type: "text", maxLength: 500, isRequired: true };
const PROFILE_FIELDS = [
  ["bytes_per_s", "Bytes a second"],
  ["rate_hz", "Frames a second at most"],
  ["radius_m", "Radius, metres"],
  ["near_radius_m", "Near within, metres"],
  ["outer_radius_m", "Outer from, metres"],
  ["entities_max", "Told of at most"],
] as const;

/** `choose` shows a region, `explain` opens the interest debugger: nothing is done by them. */
export class Acts implements Wishes {
  constructor(
    private readonly ask: Ask,
    readonly choose: (region: number) => void,
    readonly explain: (row: SessionRow) => void,
  ) {}

  move(region: number, from: string, to: string): void {
    const text = `From ${from}, with all that is in it. People notice nothing.`;
    void this.wish(`Move region ${region} to ${to}?`, text, "Move", { do: "move", region, to });
  }

  split(region: number): void {
    const text = "Its quarters become regions of their own, at the same shard to begin with.";
    void this.wish(`Split region ${region}?`, text, "Split", { do: "split", region });
  }

  merge(region: number): void {
    const text = `It and the three beside it in region ${region >> 2} become one, at one shard.`;
    void this.wish(`Merge region ${region} with its square?`, text, "Merge", { do: "merge", region });
  }

  drain(member: string, isHere: boolean): void {
    const here = isHere ? " This page is served by it: sign in at another gateway afterwards." : "";
    const text = `It moves away all regions or people that it has, and ends. People notice nothing.${here}`;
    void this.wish(`Drain ${member}?`, text, "Drain", { do: "drain", member });
  }

  kick(row: SessionRow): void {
    void this.dismiss("kick", row, "Their session ends at once, and their client does not come back by itself.");
  }

  mute(row: SessionRow): void {
    void this.dismiss("mute", row, "Nothing that they write is passed on, by any gateway.");
  }

  ban(row: SessionRow): void {
    void this.dismiss("ban", row, "Their session ends, and their identity is let in nowhere in this world.");
  }

  takeBack(what: "unban" | "unmute", standing: Standing): void {
    const title = what === "unban" ? `Let ${standing.name} in again?` : `Let ${standing.name} speak again?`;
    const text = `By ${standing.by}: ${standing.reason || "no reason given"}`;
    void this.wish(title, text, "Take back", { do: what, key: standing.key });
  }

  change(profile: ProfileRow): void {
    void this.changeProfile(profile.profile, profile.changed?.values ?? {});
  }

  async say(): Promise<void> {
    const values = await confirmed("Say to all?", "Every client of every gateway shows it.", "Say it", [TEXT]);
    if (values !== null) await this.ask({ do: "broadcast", text: values.text ?? "" });
  }

  private async wish(what: string, consequence: string, verb: string, act: Act): Promise<void> {
    if ((await confirmed(what, consequence, verb)) !== null) await this.ask(act);
  }

  private async dismiss(what: "kick" | "mute" | "ban", row: SessionRow, consequence: string): Promise<void> {
    const verb = `${what.charAt(0).toUpperCase()}${what.slice(1)}`;
    const asked = what === "kick" ? [REASON] : [HOURS, REASON];
    const values = await confirmed(`${verb} ${row.name}?`, consequence, verb, asked);
    if (values === null) return;
    const reason = values.reason ?? "";
    if (what === "kick") await this.ask({ do: what, session: row.session, reason });
    else await this.ask({ do: what, session: row.session, hours: Number(values.hours ?? 0), reason });
  }

  private async changeProfile(profile: string, changed: Readonly<Record<string, number>>): Promise<void> {
    const fields = PROFILE_FIELDS.map(([name, label]): Field => ({
      name,
      label,
      type: "number",
      step: "any",
      value: changed[name]?.toString() ?? "",
    }));
    const text = "For those who are in and those who come, at all gateways. What is left empty is as configured.";
    const values = await confirmed(`Change profile ${profile}?`, text, "Change", fields);
    if (values === null) return;
    const given = Object.entries(values).filter(([, value]) => value !== "");
    const numbers = Object.fromEntries(given.map(([name, value]) => [name, Number(value)]));
    await this.ask({ do: "profile", profile, values: numbers });
  }
}
