/**
 * The resume ticket in this tab's session storage, so that a reload of the page gets the same body back. It is good for 30 s
 * after the connection ended, belongs to this tab alone, and is no token: it proves nothing after that.
 */

const KEY = "isthmus.ticket";
const GOOD_MS = 30_000;

export interface StoredTicket {
  readonly resume: Uint8Array;
  readonly name: string;
  readonly atMs: number;
}

/** `atMs`: Date.now() when the ticket was known to be good. Null forgets it. */
export function storeTicket(ticket: StoredTicket | null): void {
  if (ticket === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, JSON.stringify({ ...ticket, resume: [...ticket.resume] }));
}

export function loadTicket(nowMs: number): StoredTicket | null {
  const text = sessionStorage.getItem(KEY);
  if (text === null) return null;
  const stored = JSON.parse(text) as { resume: number[]; name: string; atMs: number };
  if (nowMs - stored.atMs > GOOD_MS) {
    sessionStorage.removeItem(KEY);
    return null;
  }
  return { resume: Uint8Array.from(stored.resume), name: stored.name, atMs: stored.atMs };
}
