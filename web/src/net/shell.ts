/**
 * The session's shell: WebSockets, WebTransport, timers and the guest token. It does what the session core returns and decides nothing.
 */
import { SUBPROTOCOL, type Profile } from "../protocol/layouts";
import type { ServerMessage, Token } from "../protocol/messages";
import { ProtocolError } from "../protocol/codes";
import { Session, type Action, type Numbered, type Status } from "./session";
import { WebTransportLink } from "./webtransport";

export class Shell {
  readonly session: Session;
  private readonly sockets = new Map<number, WebSocket>();
  private readonly datagrams = new Map<number, WebTransportLink>();
  /** Messages that the world could not take: a gap, an unknown number. Their link is dropped and a new one opened. */
  rejected = 0;

  constructor(
    private readonly onMessage: (message: ServerMessage) => void,
    private readonly onStatus: (status: Status) => void,
    profile: Profile = "desktop",
  ) {
    // A channel's bytes are the same for all who watch, and one stream in order: datagrams would bring a television nothing.
    this.session = new Session(Math.random, profile, profile !== "tv" && WebTransportLink.available);
  }

  /** Do what the core asked for. */
  run(actions: readonly Action[]): void {
    for (const action of actions) {
      switch (action.do) {
        case "open":
          this.open(action.link, action.url);
          break;
        case "open datagrams":
          this.openDatagrams(action.link, action.address, action.token);
          break;
        case "send":
          this.sockets.get(action.link)?.send(action.data);
          this.datagrams.get(action.link)?.say(action.data, action.mayBeLost === true);
          break;
        case "close":
          this.sockets.get(action.link)?.close(1000);
          this.sockets.delete(action.link);
          this.datagrams.get(action.link)?.close();
          this.datagrams.delete(action.link);
          break;
        case "wake":
          setTimeout(() => {
            this.run(this.session.wake(performance.now()));
          }, action.afterMs);
          break;
        case "tell":
          this.onMessage(action.message);
          break;
        case "status":
          this.onStatus(action.status);
          break;
      }
    }
  }

  /** Time passes: to be called at least every 50 ms. `pending`: commands that are not known to be applied. */
  advance(nowMs: number, pending: readonly Numbered[]): void {
    this.run(this.session.idle(nowMs, pending));
    for (const link of this.datagrams.values()) link.pump(nowMs);
  }

  /** Ask for an action of the world. Settles with its answer, or rejects with ActRefused or ActLost (acts.ts). */
  act(name: string, payload: unknown = null): Promise<unknown> {
    const { answer, actions } = this.session.act(name, payload);
    this.run(actions);
    return answer;
  }

  private open(link: number, url: string | null): void {
    const address = new URL(url ?? "/ws", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address, SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    this.sockets.set(link, socket);
    socket.onopen = () => {
      this.run(this.session.opened(link));
    };
    socket.onmessage = (event: MessageEvent<unknown>) => {
      if (event.data instanceof ArrayBuffer) this.receive(link, new Uint8Array(event.data));
    };
    socket.onclose = (event) => {
      this.sockets.delete(link);
      this.run(this.session.closed(link, event.code, event.reason, performance.now()));
    };
  }

  private openDatagrams(link: number, address: string, token: Token): void {
    const closed = (reason: string) => {
      this.datagrams.delete(link);
      this.run(this.session.closed(link, 1006, reason, performance.now()));
    };
    try {
      const opened = new WebTransportLink(token, address, {
        opened: () => {
          this.run(this.session.opened(link));
        },
        heard: (messages) => {
          this.session.heard(link, performance.now());
          for (const data of messages) this.receive(link, data);
        },
        broken: (error) => {
          this.reject(link, error);
        },
        closed,
      });
      this.datagrams.set(link, opened);
    } catch (error) {
      closed(String(error)); // an address or hashes that this browser does not take
    }
  }

  private receive(link: number, data: Uint8Array): void {
    try {
      this.run(this.session.received(link, data, performance.now()));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.reject(link, error);
    }
  }

  private reject(link: number, error: ProtocolError): void {
    this.rejected++;
    console.warn(`protocol: ${error.message}`);
    this.run(this.session.broken(link, performance.now()));
  }
}

/**
 * A guest's token, or null where the server gives none (outside development): then one must be pasted.
 * Throws Error with a sentence for the person if the name is refused or the server cannot be reached.
 */
export async function guestToken(name: string): Promise<string | null> {
  let response: Response;
  try {
    response = await fetch(new URL("/api/guest", location.href), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ name }),
    });
  } catch {
    throw new Error("The server cannot be reached. Is it running?");
  }
  if (response.status === 404 || response.status === 405) return null;
  const answer = (await response.json().catch(() => ({}))) as { token?: unknown; text?: unknown };
  if (response.ok && typeof answer.token === "string") return answer.token;
  throw new Error(typeof answer.text === "string" ? answer.text : `The server refused (${response.status}).`);
}
