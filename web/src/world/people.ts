/** Who is online, as PRESENCE tells it: ids and names. Not responsible for: where they are. */
import type { Presence } from "../protocol/messages";

export class People {
  private readonly names = new Map<bigint, string>();
  online = 0;

  /** A new stream tells everybody anew. */
  begin(): void {
    this.names.clear();
    this.online = 0;
  }

  apply(presence: Presence): void {
    this.online = presence.online;
    for (const id of presence.left) this.names.delete(id);
    for (const [id, name] of presence.joined) this.names.set(id, name);
  }

  nameOf(id: bigint): string {
    return this.names.get(id) ?? "";
  }

  /** The id of the one called `name`, whatever the case of its letters. */
  find(name: string): bigint | null {
    const wanted = name.toLocaleLowerCase();
    for (const [id, known] of this.names) if (known.toLocaleLowerCase() === wanted) return id;
    return null;
  }

  /** Ids and names, sorted by name. */
  get sorted(): readonly (readonly [bigint, string])[] {
    return [...this.names].sort((a, b) => a[1].localeCompare(b[1]));
  }
}
