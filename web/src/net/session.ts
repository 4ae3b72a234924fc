/**
 * A session, sans-I/O: told what happened and when, it returns what is to be done.
 *
 * A session lives on one link at a time; during a MOVE a second one is being welcomed while the first still serves. Links are
 * named by numbers that this core hands out. States: idle → joining (link open asked) → welcomed (in the world) → waiting
 * (for a retry) → … → ended (nothing is tried again until `join`).
 * Invariants: HELLO is the first message on a link; at most one retry is scheduled; after `ended` nothing is sent.
 * Not responsible for: sockets and timers (socket.ts), what the world's messages mean (world/), the keys (input.ts).
 */
import { adviceOf, meaningOf, ProtocolError } from "../protocol/codes";
import { CHAT_CHARS_MAX, COMMANDS_PER_INPUT_MAX, type Profile } from "../protocol/layouts";
import { Acts } from "./acts";
import * as messages from "../protocol/messages";
import type { Scope, ServerMessage, Welcome, WireCommand } from "../protocol/messages";

const AGENT = "isthmus-web/0.1.0";
const RETRY_FIRST_MS = 100;
const RETRY_LATER_MS = 1000;
const RETRY_MOST_MS = 10_000;
/** A resume ticket is good for 30 s; after that the body is gone and a fresh join is what the person wants. */
const RESUME_MS = 30_000;
/** So much earlier than asked for a silent page says that it lives: `idle` is not called at every millisecond. */
const IDLE_SLACK_MS = 60;

export type Action =
  | { readonly do: "open"; readonly link: number; readonly url: string | null }
  | { readonly do: "send"; readonly link: number; readonly data: Uint8Array<ArrayBuffer> }
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
}

export interface Ticket {
  readonly resume: Uint8Array;
  readonly atMs: number;
}

interface Link {
  readonly id: number;
  readonly resume: Uint8Array | null;
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
  private newestFrame = 0;
  private readonly acts = new Acts();
  state: "idle" | Status["state"] = "idle";

  /** `jitter` returns numbers in [0, 1): it spreads the pages that a stopped server lost. `profile`: what this page is. */
  constructor(
    private readonly jitter: () => number,
    private profile: Profile = "desktop",
  ) {}

  /** Enter a world. `ticket`: from an earlier page, to get the same body back. */
  join(name: string, token: string | null, ticket: Ticket | null = null): Action[] {
    this.name = name;
    this.token = token;
    this.ticket = ticket;
    this.failures = 0;
    this.schemaHash = null;
    return [...this.dropLinks(), ...this.openCurrent("Joining …")];
  }

  /** Another device from now on, with the same body: a page that goes into a headset. */
  become(profile: Profile): Action[] {
    if (profile === this.profile) return [];
    this.profile = profile;
    if (this.state !== "welcomed") return []; // the next HELLO says it
    return [...this.dropLinks(), ...this.openCurrent("Changing over …")];
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

  /** Bytes of one message came. Anything but STRUCTURE and FRAME that the standard does not allow ends the link. */
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

  /** The newest frame that the world has applied: named by all that is said from now on. */
  applied(frame: number): void {
    this.newestFrame = frame;
  }

  /** The connection ended, by either side. */
  closed(id: number, code: number, reason: string, nowMs: number): Action[] {
    if (this.next?.id === id) {
      this.next = null; // the old link still serves; the server that wanted the move will ask again or close it
      return [];
    }
    const link = this.current;
    if (link?.id !== id) return [];
    this.current = null;
    // The gateway that we were moved to may be gone, and so may the page's own: they are tried in turn.
    this.url = this.url === null ? this.movedUrl : null;
    const said = link.said ?? { code, retryAfterMs: null, text: reason };
    const advice = adviceOf(said.code);
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
    return this.openCurrent("Reconnecting …");
  }

  /** Commands to send, oldest first; `seq` numbers the last one. */
  input(seq: number, commands: readonly WireCommand[], nowMs: number): Action[] {
    const out = commands.slice(-COMMANDS_PER_INPUT_MAX);
    return this.say(messages.encodeInput(seq, this.newestFrame, stamp(nowMs), out), nowMs);
  }

  /** To be called at least every IDLE_SLACK_MS: says that this page lives when it has been silent for the time that the server named. */
  idle(nowMs: number): Action[] {
    if (nowMs - this.lastSaidMs < this.idleAckMs - IDLE_SLACK_MS) return [];
    return this.say(messages.encodeAck(this.newestFrame, stamp(nowMs)), nowMs);
  }

  /** Where head and hands are: samples as protocol/poses.ts writes them. It is no heartbeat. */
  pose(samples: Uint8Array, nowMs: number): Action[] {
    return this.tell(messages.encodePose(stamp(nowMs), samples));
  }

  /** A television joins a channel (null: the world's first), `behindS` seconds in the past. */
  watch(name: string | null, behindS: number): Action[] {
    return this.tell(messages.encodeWatch(name, behindS));
  }

  private tell(data: Uint8Array<ArrayBuffer>): Action[] {
    if (this.current === null || this.state !== "welcomed") return [];
    return [{ do: "send", link: this.current.id, data }];
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
    return this.tell(data);
  }

  private handle(link: Link, message: ServerMessage, nowMs: number): Action[] {
    if (message.type === "close") {
      link.said = message;
      return [];
    }
    if (message.type === "welcome") return this.welcomed(link, message, nowMs);
    if (link !== this.current) return []; // nothing but its welcome counts on a link that is not yet switched to
    this.ticket = this.ticket === null ? null : { ...this.ticket, atMs: nowMs };
    if (message.type === "schema") this.schemaHash = message.schemaHash;
    if (message.type === "answer") this.acts.answered(message);
    const out: Action[] = [{ do: "tell", message }];
    return message.type === "move" ? [...out, ...this.moving(message.url, message.ticket)] : out;
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
    this.newestFrame = 0;
    this.lastSaidMs = nowMs;
    this.state = "welcomed";
    const said = sends(link, this.acts.welcomed(welcome));
    return [...out, { do: "tell", message: welcome }, ...this.status("welcomed", ""), ...said];
  }

  private moving(url: string, ticket: Uint8Array): Action[] {
    const out: Action[] = this.next === null ? [] : [{ do: "close", link: this.next.id }];
    this.url = this.movedUrl = url;
    this.next = this.newLink(ticket);
    return [...out, { do: "open", link: this.next.id, url }];
  }

  private openCurrent(text: string): Action[] {
    this.current = this.newLink(this.ticket?.resume ?? null);
    return [...this.status("joining", text), { do: "open", link: this.current.id, url: this.url }];
  }

  private newLink(resume: Uint8Array | null): Link {
    return { id: ++this.links, resume, opened: false, said: null };
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
    return [{ do: "status", status: { state, text, wantsToken } }];
  }
}

function sends(link: Link, data: readonly Uint8Array<ArrayBuffer>[]): Action[] {
  return data.map((one) => ({ do: "send", link: link.id, data: one }));
}

/** This page's clock as the wire has it: u32 milliseconds. */
function stamp(nowMs: number): number {
  return Math.floor(nowMs) >>> 0;
}
