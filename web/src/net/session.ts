/**
 * A session, sans-I/O: told what happened and when, it returns what is to be done.
 *
 * A session lives on one link at a time; during a MOVE, and while it goes over to datagrams (STANDARD.md §9), a second one is being
 * welcomed while the first still serves. A link over datagrams that falls silent is given up for one over WebSocket. Links are
 * named by numbers that this core hands out. States: idle → joining (link open asked) → welcomed (in the world) → waiting
 * (for a retry) → … → ended (nothing is tried again until `join`).
 * Invariants: HELLO is the first message on a link; at most one retry is scheduled; after `ended` nothing is sent.
 * Not responsible for: sockets and timers (shell.ts, webtransport.ts), what is in a datagram (datagramlink.ts), what the world's messages mean (world/), the keys (input.ts).
 */
import { adviceOf, meaningOf, ProtocolError } from "../protocol/codes";
import { CARRIER_WEBTRANSPORT, DATAGRAMS_VERSION } from "../protocol/datagrams";
import { CHAT_CHARS_MAX, COMMANDS_PER_INPUT_MAX, type Profile } from "../protocol/layouts";
import { Acts } from "./acts";
import * as messages from "../protocol/messages";
import type { Scope, ServerMessage, Token, Welcome, WireCommand } from "../protocol/messages";
import { Upgrading } from "./upgrading";

const AGENT = "isthmus-web/0.1.0";
const RETRY_FIRST_MS = 100;
const RETRY_LATER_MS = 1000;
const RETRY_MOST_MS = 10_000;
/** A resume ticket is good for 30 s; after that the body is gone and a fresh join is what the person wants. */
const RESUME_MS = 30_000;
/** So much earlier than asked for a silent page says that it lives: `idle` is not called at every millisecond. */
const IDLE_SLACK_MS = 60;
/** After so long without a datagram a session goes back to WebSocket (STANDARD.md §9.3). */
const SILENCE_MS = 3000;
/** A page that was not asked for so long stood still itself: that nothing was heard meanwhile says nothing. */
const STOOD_STILL_MS = 500;
/** After this a server has given up a link over datagrams that is not answered (STANDARD.md §9.3). */
const LATE_HELLO_MS = 10_000;
/** Commands that are said again over datagrams: what a second and a half without one held up. */
const REPEATED_MAX = 4 * COMMANDS_PER_INPUT_MAX;
const REPLACED = 4303;
const ABNORMAL = 1006;

export type Action =
  | { readonly do: "open"; readonly link: number; readonly url: string | null }
  | { readonly do: "open datagrams"; readonly link: number; readonly address: string; readonly token: Token }
  /** `mayBeLost`: over datagrams it is said once, and by itself. */
  | { readonly do: "send"; readonly link: number; readonly data: Uint8Array<ArrayBuffer>; readonly mayBeLost?: true }
  | { readonly do: "close"; readonly link: number }
  | { readonly do: "wake"; readonly afterMs: number }
  | { readonly do: "tell"; readonly message: ServerMessage }
  | { readonly do: "status"; readonly status: Status };

export interface Status {
  readonly state: "joining" | "welcomed" | "waiting" | "ended";
  /** One sentence for a person; empty when all is well. */
  readonly text: string;
  /** Ended because the token was refused: another one may help. */
  readonly wantsToken: boolean;
  /** What carries the session. */
  readonly carrier: "WebSocket" | "WebTransport";
}

/** A command with its sequence number. */
export interface Numbered {
  readonly seq: number;
  readonly command: WireCommand;
}

export interface Ticket {
  readonly resume: Uint8Array;
  readonly atMs: number;
}

interface Link {
  readonly id: number;
  readonly resume: Uint8Array | null;
  /** Where its gateway is, by WebSocket. */
  readonly url: string | null;
  /** Of a link over datagrams. */
  readonly token: Token | null;
  /** When something was heard of it, or it began. */
  heardMs: number;
  opened: boolean;
  /** What a CLOSE message said before the connection ends. */
  said: { readonly code: number; readonly retryAfterMs: number | null; readonly text: string } | null;
}

export class Session {
  private links = 0;
  private current: Link | null = null;
  private next: Link | null = null;
  private token: string | null = null;
  private name: string | null = null;
  private url: string | null = null;
  private movedUrl: string | null = null;
  private ticket: Ticket | null = null;
  private schemaHash: Uint8Array | null = null;
  private failures = 0;
  private retryAtMs: number | null = null;
  private lastSaidMs = 0;
  private idleAckMs = 200;
  private tickMs = 50;
  private newestFrame = 0;
  private earlier: bigint | null = null;
  /** VALUES came since the newest INPUT or ACK. */
  private unnamed = false;
  private lastIdleMs = -Infinity;
  /** When a link over datagrams was given up before its welcome. */
  private gaveUpMs = -Infinity;
  /** The gateway that was welcomed on last; undefined before the first welcome. */
  private welcomedUrl: string | null | undefined = undefined;
  readonly upgrading: Upgrading;
  private readonly acts = new Acts();
  state: "idle" | Status["state"] = "idle";

  /** `jitter` returns numbers in [0, 1): it spreads the pages that a stopped server lost. `profile`: what this page is. `datagrams`:
   * whether this browser has WebTransport, and this page a use for it. */
  constructor(
    private readonly jitter: () => number,
    private profile: Profile = "desktop",
    datagrams = false,
  ) {
    this.upgrading = new Upgrading(datagrams, jitter);
  }

  /** Whether values come by datagrams: VALUES instead of FRAMEs. */
  get overDatagrams(): boolean {
    return this.current !== null && this.current.token !== null;
  }

  /** Enter a world. `ticket`: from an earlier page, to get the same body back. */
  join(name: string, token: string | null, ticket: Ticket | null = null): Action[] {
    this.name = name;
    this.token = token;
    this.ticket = ticket;
    this.failures = 0;
    this.schemaHash = null;
    return [...this.dropLinks(), ...this.openCurrent("Joining …", 0)];
  }

  /** Another device from now on, with the same body: a page that goes into a headset. */
  become(profile: Profile): Action[] {
    if (profile === this.profile) return [];
    this.profile = profile;
    if (this.state !== "welcomed") return []; // the next HELLO says it
    return [...this.dropLinks(), ...this.openCurrent("Changing over …", 0)];
  }

  /** Leave for good. */
  leave(): Action[] {
    const out: Action[] = [];
    if (this.current?.opened) out.push({ do: "send", link: this.current.id, data: messages.encodeBye() });
    this.ticket = null;
    return [...out, ...this.dropLinks(), ...this.status("ended", "You left.")];
  }

  /** The ticket of the present session, for a reload of the page. */
  get resumeTicket(): Uint8Array | null {
    return this.ticket?.resume ?? null;
  }

  opened(id: number): Action[] {
    const link = this.find(id);
    if (link === null) return [{ do: "close", link: id }];
    link.opened = true;
    const { token, name, profile, schemaHash } = this;
    return [
      {
        do: "send",
        link: id,
        data: messages.encodeHello({ token, name, profile, resume: link.resume, schemaHash, agent: AGENT }),
      },
    ];
  }

  /** A datagram came, whatever is in it. */
  heard(id: number, nowMs: number): void {
    const link = this.find(id);
    if (link !== null) link.heardMs = nowMs;
  }

  /** Bytes of one message came. Anything but STRUCTURE, FRAME and VALUES that the standard does not allow ends the link. */
  received(id: number, data: Uint8Array, nowMs: number): Action[] {
    const link = this.find(id);
    if (link === null) return [];
    try {
      const message = messages.decode(data);
      return message === null ? [] : this.handle(link, message, nowMs);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return this.broken(id, nowMs);
    }
  }

  /** What came on this link cannot be right: begin anew on another one. */
  broken(id: number, nowMs: number): Action[] {
    return [{ do: "close", link: id }, ...this.closed(id, 1002, "", nowMs)];
  }

  /** The newest frame that the world has applied: named by all that is said from now on. `earlier`: over datagrams, which before it
   * have come. */
  applied(frame: number, earlier: bigint | null = null): void {
    this.unnamed ||= earlier !== null && (frame !== this.newestFrame || earlier !== this.earlier);
    this.newestFrame = frame;
    this.earlier = earlier;
  }

  /** The connection ended, by either side. */
  closed(id: number, code: number, reason: string, nowMs: number): Action[] {
    const link = this.find(id);
    if (link === null) return [];
    const said = link.said ?? { code, retryAfterMs: null, text: reason };
    let advice = adviceOf(said.code);
    if (link.token !== null) {
      this.upgrading.failed(said.text, nowMs);
      if (link === this.next && this.current !== null) this.gaveUpMs = nowMs;
    } else if (said.code === REPLACED && nowMs - this.gaveUpMs < LATE_HELLO_MS) {
      // By the HELLO of our own link over datagrams, which arrived after it had been given up.
      advice = "reconnect now";
      this.gaveUpMs = -Infinity;
    }
    if (link === this.next) {
      this.next = null; // the old link still serves; the server that wanted the move will ask again or close it
      if (this.current !== null) return [];
    } else {
      this.current = null;
      // Replaced by our own next link, or lost while that one is being welcomed.
      if (this.next !== null && (said.code === REPLACED || advice === "reconnect now")) return [];
    }
    // Silent datagrams say nothing of the gateway, which the same session goes back to.
    if (link.token !== null && said.code === ABNORMAL) return this.openCurrent("Reconnecting …", nowMs);
    // The gateway that we were moved to may be gone, and so may the page's own: they are tried in turn.
    if (link.token === null) this.url = this.url === null ? this.movedUrl : null;
    const text = [meaningOf(said.code), said.text].filter((part) => part !== "").join(" ");
    if (advice === "do not come back" || advice === "new token") {
      return [...this.dropLinks(), ...this.status("ended", text, advice === "new token")];
    }
    const bound = Math.min(
      RETRY_MOST_MS,
      (advice === "reconnect now" ? RETRY_FIRST_MS : RETRY_LATER_MS) * 2 ** Math.min(16, this.failures),
    );
    this.failures++;
    const afterMs = Math.ceil((said.retryAfterMs ?? 0) + bound * (0.5 + 0.5 * this.jitter()));
    this.retryAtMs = nowMs + afterMs;
    return [...this.status("waiting", `${text} Trying again …`), { do: "wake", afterMs }];
  }

  /** Time has come for what was scheduled. */
  wake(nowMs: number): Action[] {
    if (this.retryAtMs === null || nowMs < this.retryAtMs - 1) return [];
    this.retryAtMs = null;
    if (this.ticket !== null && nowMs - this.ticket.atMs > RESUME_MS) this.ticket = null;
    return this.openCurrent("Reconnecting …", nowMs);
  }

  /** Commands to send, oldest first; `seq` numbers the last one. Over datagrams all of `pending` is said again: what is not known to be
   * applied. */
  input(seq: number, commands: readonly WireCommand[], nowMs: number, pending: readonly Numbered[] = []): Action[] {
    if (this.overDatagrams) return this.repeat(pending, nowMs);
    const out = commands.slice(-COMMANDS_PER_INPUT_MAX);
    return this.say(messages.encodeInput(seq, this.newestFrame, stamp(nowMs), out), nowMs);
  }

  /** To be called at least every IDLE_SLACK_MS: says that this page lives when it has been silent for the time that the server named;
   * over datagrams, what came and what is not known to be applied. Gives up silent links, and asks for datagrams. */
  idle(nowMs: number, pending: readonly Numbered[] = []): Action[] {
    const out = [...this.giveUpSilent(nowMs), ...this.ask(nowMs)];
    // What is acknowledged late is sent again, and what was not applied may have been lost.
    const soon = this.overDatagrams && (this.unnamed || pending.length > 0);
    const everyMs = soon ? Math.min(this.tickMs, this.idleAckMs) : this.idleAckMs - IDLE_SLACK_MS;
    if (nowMs - this.lastSaidMs < everyMs) return out;
    if (this.overDatagrams && pending.length > 0) return [...out, ...this.repeat(pending, nowMs)];
    return [...out, ...this.say(messages.encodeAck(this.newestFrame, stamp(nowMs), this.earlier), nowMs)];
  }

  private repeat(pending: readonly Numbered[], nowMs: number): Action[] {
    const out: Action[] = [];
    const again = pending.slice(-REPEATED_MAX);
    for (let first = 0; first < again.length; first += COMMANDS_PER_INPUT_MAX) {
      const some = again.slice(first, first + COMMANDS_PER_INPUT_MAX);
      const commands = some.map(({ command }) => command);
      const data = messages.encodeInput(some.at(-1)?.seq ?? 0, this.newestFrame, stamp(nowMs), commands, this.earlier);
      out.push(...this.say(data, nowMs));
    }
    return out;
  }

  private giveUpSilent(nowMs: number): Action[] {
    const slept = nowMs - this.lastIdleMs;
    this.lastIdleMs = nowMs;
    return [this.current, this.next].flatMap((link) => {
      if (link === null || link.token === null) return [];
      if (slept > STOOD_STILL_MS) link.heardMs = Math.min(nowMs, link.heardMs + slept);
      if (nowMs - link.heardMs <= SILENCE_MS) return [];
      const close: Action = { do: "close", link: link.id };
      return [close, ...this.closed(link.id, ABNORMAL, "The server fell silent.", nowMs)];
    });
  }

  private ask(nowMs: number): Action[] {
    const link = this.current;
    const ready = link !== null && link.token === null && this.next === null && this.state === "welcomed";
    if (!ready || nowMs < this.upgrading.atMs) return [];
    this.upgrading.asked(nowMs);
    return sends(link, [messages.encodeAskDatagrams(DATAGRAMS_VERSION, CARRIER_WEBTRANSPORT)]);
  }

  /** Where head and hands are: samples as protocol/poses.ts writes them. It is no heartbeat. */
  pose(samples: Uint8Array, nowMs: number): Action[] {
    return this.tell(messages.encodePose(stamp(nowMs), samples), true);
  }

  /** A television joins a channel (null: the world's first), `behindS` seconds in the past. */
  watch(name: string | null, behindS: number): Action[] {
    return this.tell(messages.encodeWatch(name, behindS));
  }

  /** `mayBeLost`: over datagrams it is said by itself, and once. */
  private tell(data: Uint8Array<ArrayBuffer>, mayBeLost = false): Action[] {
    if (this.current === null || this.state !== "welcomed") return [];
    const { id, token } = this.current;
    return [{ do: "send", link: id, data, ...(mayBeLost && token !== null ? { mayBeLost } : {}) }];
  }

  chat(scope: Scope, text: string, to: bigint | null = null): Action[] {
    const link = this.current;
    if (link === null || this.state !== "welcomed" || text === "") return [];
    return [{ do: "send", link: link.id, data: messages.encodeSay(scope, text.slice(0, CHAT_CHARS_MAX), to) }];
  }

  /** Ask for an action, now or when there is a connection: done once, and the promise says what came of it (acts.ts). Throws RangeError if
   * too many wait. */
  act(name: string, payload: unknown): { readonly answer: Promise<unknown>; readonly actions: Action[] } {
    const answer = this.acts.add(name, payload);
    const link = this.current;
    const actions = link === null || this.state !== "welcomed" ? [] : sends(link, this.acts.say());
    return { answer, actions };
  }

  private say(data: Uint8Array<ArrayBuffer>, nowMs: number): Action[] {
    this.lastSaidMs = nowMs;
    this.unnamed = false;
    return this.tell(data, true);
  }

  private handle(link: Link, message: ServerMessage, nowMs: number): Action[] {
    link.heardMs = nowMs;
    if (message.type === "close") {
      link.said = message;
      if (link.token === null) return [];
      // There is no connection whose end would be seen.
      return [{ do: "close", link: link.id }, ...this.closed(link.id, message.code, message.text, nowMs)];
    }
    if (message.type === "welcome") return this.welcomed(link, message, nowMs);
    if (link !== this.current) return []; // nothing but its welcome counts on a link that is not yet switched to
    this.ticket = this.ticket === null ? null : { ...this.ticket, atMs: nowMs };
    if (message.type === "token") return this.given(message, nowMs);
    if (message.type === "schema") this.schemaHash = message.schemaHash;
    if (message.type === "answer") this.acts.answered(message);
    const out: Action[] = [{ do: "tell", message }];
    return message.type === "move" ? [...out, ...this.moving(message.url, message.ticket, nowMs)] : out;
  }

  private welcomed(link: Link, welcome: Welcome, nowMs: number): Action[] {
    const out: Action[] = [];
    if (link === this.next) {
      if (this.current !== null) out.push({ do: "close", link: this.current.id });
      this.current = link;
      this.next = null;
    }
    this.failures = 0;
    this.ticket = { resume: welcome.resume, atMs: nowMs };
    this.schemaHash = welcome.schemaHash;
    this.idleAckMs = welcome.idleAckMs;
    this.tickMs = 1000 / welcome.rateHz;
    this.newestFrame = 0;
    this.earlier = link.token === null ? null : 0n;
    this.unnamed = false;
    if (link.token === null) this.upgrading.onWebSocket(nowMs, this.welcomedUrl !== link.url);
    else this.upgrading.onDatagrams(nowMs);
    this.welcomedUrl = link.url;
    this.lastSaidMs = nowMs;
    this.state = "welcomed";
    const said = sends(link, this.acts.welcomed(welcome));
    return [...out, { do: "tell", message: welcome }, ...this.status("welcomed", ""), ...said];
  }

  private given(token: Token, nowMs: number): Action[] {
    if (!this.upgrading.answered() || this.next !== null) return [];
    if (token.address === null || !token.address.startsWith("https://")) {
      this.upgrading.failed(token.text, nowMs);
      return [];
    }
    this.next = this.newLink(this.ticket?.resume ?? null, this.current?.url ?? null, nowMs, token);
    return [{ do: "open datagrams", link: this.next.id, address: token.address, token }];
  }

  private moving(url: string, ticket: Uint8Array, nowMs: number): Action[] {
    const out: Action[] = this.next === null ? [] : [{ do: "close", link: this.next.id }];
    this.url = this.movedUrl = url;
    this.next = this.newLink(ticket, url, nowMs);
    return [...out, { do: "open", link: this.next.id, url }];
  }

  private openCurrent(text: string, nowMs: number): Action[] {
    this.current = this.newLink(this.ticket?.resume ?? null, this.url, nowMs);
    return [...this.status("joining", text), { do: "open", link: this.current.id, url: this.url }];
  }

  private newLink(resume: Uint8Array | null, url: string | null, nowMs: number, token: Token | null = null): Link {
    return { id: ++this.links, resume, url, token, heardMs: nowMs, opened: false, said: null };
  }

  private dropLinks(): Action[] {
    const out = [this.current, this.next]
      .filter((link) => link !== null)
      .map((link): Action => ({ do: "close", link: link.id }));
    this.current = this.next = null;
    this.retryAtMs = null;
    return out;
  }

  private find(id: number): Link | null {
    return [this.current, this.next].find((link) => link?.id === id) ?? null;
  }

  private status(state: Status["state"], text: string, wantsToken = false): Action[] {
    this.state = state;
    if (state === "ended") this.acts.end();
    const carrier = this.overDatagrams ? "WebTransport" : "WebSocket";
    return [{ do: "status", status: { state, text, wantsToken, carrier } }];
  }
}

function sends(link: Link, data: readonly Uint8Array<ArrayBuffer>[]): Action[] {
  return data.map((one) => ({ do: "send", link: link.id, data: one }));
}

/** This page's clock as the wire has it: u32 milliseconds. */
function stamp(nowMs: number): number {
  return Math.floor(nowMs) >>> 0;
}
