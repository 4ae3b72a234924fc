/** What a person typed, as what is to be said. A slash begins a command: /near, /w NAME (direct), /all. */
import { SCOPE_DIRECT, SCOPE_NEAR, SCOPE_WORLD, type Scope } from "../protocol/messages";
import type { People } from "./people";

export type Line =
  { readonly scope: Scope; readonly text: string; readonly to: bigint | null } | { readonly error: string };

/** `usual` is the scope for lines without a command. Names may hold spaces: the longest name that fits is meant. */
export function parseLine(typed: string, usual: Scope, people: People): Line {
  const line = typed.trim();
  if (!line.startsWith("/")) return { scope: usual, text: line, to: null };
  const [command = "", ...words] = line.slice(1).split(/\s+/);
  const rest = words.join(" ");
  if (command === "near") return { scope: SCOPE_NEAR, text: rest, to: null };
  if (command === "all") return { scope: SCOPE_WORLD, text: rest, to: null };
  if (command !== "w") return { error: `There is no command /${command}. Try /near, /all or /w NAME.` };
  for (let length = words.length - 1; length > 0; length--) {
    const to = people.find(words.slice(0, length).join(" "));
    if (to !== null) return { scope: SCOPE_DIRECT, text: words.slice(length).join(" "), to };
  }
  return {
    error: words.length < 2 ? "Write /w NAME and then your message." : `Nobody here is called “${words[0] ?? ""}”.`,
  };
}
