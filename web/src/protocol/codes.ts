/**
 * Close codes: what ends a session, and what the client does next (STANDARD.md §3).
 * The range of a code alone decides whether to come back; the texts are for people.
 */

export type Advice = "reconnect now" | "reconnect later" | "new token" | "do not come back";

const ADVICE: readonly Advice[] = ["reconnect now", "reconnect later", "new token", "do not come back"];

/** Advice for any WebSocket close code; one outside our ranges (1006: the connection broke) means "reconnect now". */
export function adviceOf(code: number): Advice {
  return (code >= 4000 && code < 4400 ? ADVICE[Math.floor((code - 4000) / 100)] : undefined) ?? "reconnect now";
}

const MEANINGS: Readonly<Record<number, string>> = {
  4000: "The server is going away.",
  4001: "You were moved to another server.",
  4002: "Your connection was too slow to keep up.",
  4003: "The server did not hear from this page for too long.",
  4004: "The link stayed idle.",
  4100: "The world is full at the moment.",
  4101: "The server is still starting.",
  4102: "This page sent too many messages.",
  4103: "There are too many connections from your address.",
  4200: "Your token has expired.",
  4201: "Your token is not valid here.",
  4202: "This server asks for a token.",
  4300: "The server did not understand this page.",
  4301: "This page and the server speak different versions. Reload the page.",
  4302: "This name cannot be used. Please choose another.",
  4303: "You joined from another window, which took over.",
  4304: "This page sent a message that was too large.",
  4305: "You were removed from this world.",
  4306: "This server does not accept visitors from this web address.",
};

/** One sentence for a person. Unknown codes are named by their number. */
export function meaningOf(code: number): string {
  return (
    MEANINGS[code] ??
    (code >= 4000 && code < 5000 ? `The connection ended (code ${code}).` : "The connection was lost.")
  );
}

/** The peer said something that the standard does not allow: this connection cannot go on. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}
