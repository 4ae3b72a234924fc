/** The page's elements, and what is written into them. Texts of others are set as text, never as HTML. */
import type { Status } from "../net/session";
import { SCOPE_DIRECT, SCOPE_NEAR, type Chat, type Scope } from "../protocol/messages";

const LINES_MAX = 200;
const CARRIER_TITLES = {
  WebSocket: "Over WebSocket: a lost packet holds up what is behind it.",
  WebTransport: "Over WebTransport: a lost packet holds up nothing.",
};

function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} called ${id}`);
  return found;
}

export interface HudFigures {
  readonly tick: number;
  readonly rttMs: number | null;
  readonly inView: number;
  /** Those who are only counted. */
  readonly farther: number;
  readonly place: readonly [number, number] | null;
  readonly position: readonly [number, number, number] | null;
}

export class Page {
  readonly canvas = element("view", HTMLCanvasElement);
  readonly tags = element("tags", HTMLElement);
  private readonly joinForm = element("join", HTMLFormElement);
  private readonly name = element("name", HTMLInputElement);
  private readonly token = element("token", HTMLInputElement);
  private readonly tokenRow = element("token-row", HTMLElement);
  private readonly joinButton = element("join-button", HTMLButtonElement);
  private readonly joinMessage = element("join-message", HTMLElement);
  private readonly game = element("game", HTMLElement);
  private readonly banner = element("banner", HTMLElement);
  private readonly connection = element("connection", HTMLElement);
  private readonly carrier = element("carrier", HTMLElement);
  private readonly lines = element("chat-lines", HTMLElement);
  private readonly chatForm = element("chat", HTMLFormElement);
  private readonly chatText = element("chat-text", HTMLInputElement);
  private readonly chatScope = element("chat-scope", HTMLSelectElement);
  private readonly people = element("people", HTMLElement);
  private readonly online = element("online", HTMLElement);
  private readonly hud = element("hud", HTMLElement);
  private readonly where = element("where", HTMLElement);
  private readonly attribution = element("attribution", HTMLElement);

  constructor() {
    // Where there is little room, who is here is told when asked for.
    element("crowd", HTMLDetailsElement).open = window.matchMedia("(width >= 44rem) and (height >= 30rem)").matches;
  }

  onJoin(handle: (name: string, token: string) => void): void {
    this.joinForm.addEventListener("submit", (event) => {
      event.preventDefault();
      handle(this.name.value.trim(), this.token.value.trim());
    });
  }

  onLeave(handle: () => void): void {
    element("leave", HTMLButtonElement).addEventListener("click", handle);
  }

  /** A button to go in with a headset, where there is one. */
  offerHeadset(has: boolean, handle: () => void): void {
    const button = element("headset", HTMLButtonElement);
    button.hidden = !has;
    button.addEventListener("click", handle);
  }

  /** Enter writes, Escape goes back to walking. */
  onChat(handle: (text: string, scope: Scope) => void, beginWriting: () => void): void {
    this.chatForm.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.chatText.value.trim() !== "")
        handle(this.chatText.value, this.chatScope.value === "near" ? SCOPE_NEAR : 0);
      this.chatText.value = "";
      this.canvas.focus();
    });
    this.chatText.addEventListener("focus", beginWriting);
    this.chatText.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.canvas.focus();
    });
    window.addEventListener("keydown", (event) => {
      const onPage = event.target === document.body || event.target === this.canvas;
      if (this.game.hidden || !onPage || (event.key !== "Enter" && event.key !== "/")) return;
      event.preventDefault();
      if (event.key === "/") this.chatText.value = "/";
      this.chatText.focus();
    });
  }

  setName(name: string): void {
    this.name.value = name;
  }

  showStatus(status: Status): void {
    const joined = status.state === "welcomed";
    const ended = status.state === "ended";
    if (joined && this.game.hidden) {
      this.game.hidden = false;
      this.joinForm.hidden = true;
      this.canvas.focus();
    }
    if (ended) {
      this.game.hidden = true;
      this.joinForm.hidden = false;
    }
    this.joinButton.disabled = !ended;
    this.joinMessage.textContent = joined ? "" : status.text;
    this.banner.hidden = joined || ended;
    this.banner.textContent = status.text;
    this.connection.textContent = joined ? "connected" : status.state === "waiting" ? "reconnecting" : status.state;
    this.connection.dataset.state = status.state;
    this.carrier.textContent = joined ? status.carrier : "";
    // Where there is little room the carrier is told when asked for.
    this.carrier.title = this.connection.title = joined ? CARRIER_TITLES[status.carrier] : "";
    if (status.wantsToken) this.askForToken();
  }

  /** Something kept the person from joining. */
  refuse(text: string): void {
    this.joinMessage.textContent = text;
    this.joinButton.disabled = false;
  }

  askForToken(): void {
    this.tokenRow.hidden = false;
    this.token.focus();
  }

  showChat(chat: Chat, mine: boolean): void {
    const scope = chat.scope === SCOPE_DIRECT ? (mine ? "to them" : "to you") : chat.scope === SCOPE_NEAR ? "near" : "";
    const who = document.createElement("b");
    who.textContent = chat.name;
    this.line(
      scope === "" ? [who, ` ${chat.text}`] : [who, ` (${scope}) ${chat.text}`],
      chat.scope === SCOPE_DIRECT ? "direct" : "said",
    );
  }

  showNotice(text: string): void {
    this.line([text], "notice");
  }

  private line(parts: readonly (Node | string)[], kind: string): void {
    const line = document.createElement("li");
    line.className = kind;
    line.append(...parts);
    const atEnd = this.lines.scrollHeight - this.lines.scrollTop - this.lines.clientHeight < 40;
    this.lines.append(line);
    while (this.lines.childElementCount > LINES_MAX) this.lines.firstElementChild?.remove();
    if (atEnd) this.lines.scrollTop = this.lines.scrollHeight;
  }

  /** Who is online; choosing a name begins a message to them. `own`: the id of this page's body. */
  showPeople(online: number, people: readonly (readonly [bigint, string])[], own: bigint | null): void {
    this.online.textContent = `${online}`;
    this.people.replaceChildren(
      ...people.map(([id, name]) => {
        const item = document.createElement("li");
        if (id === own) {
          item.textContent = `${name} (you)`;
          return item;
        }
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = name;
        button.title = `Write to ${name}`;
        button.addEventListener("click", () => {
          this.chatText.value = `/w ${name} `;
          this.chatText.focus();
        });
        item.append(button);
        return item;
      }),
    );
  }

  showHud(figures: HudFigures): void {
    const { tick, rttMs, inView, farther, place, position } = figures;
    const at = position?.map((c) => c.toFixed(1)).join(", ") ?? "–";
    const parts = [`tick ${tick}`, `${inView} in view${farther > 0 ? `, about ${farther} farther off` : ""}`];
    if (rttMs !== null) parts.push(`${rttMs} ms`);
    this.hud.textContent = parts.join(" · ");
    this.where.textContent = place === null ? at : `${at} · ${place[0].toFixed(5)}° N ${place[1].toFixed(5)}° E`;
  }

  showAttribution(text: string): void {
    this.attribution.textContent = text;
  }
}
