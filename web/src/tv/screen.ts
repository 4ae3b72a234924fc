/** The television page's elements, and what is written into them. Texts of others are set as text, never as HTML. */
import type { Remote } from "./remote";

/** The name of the channel stands out for so long after a key. */
const BRIGHT_MS = 6000;

function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`tv.html has no ${type.name} called ${id}`);
  return found;
}

export class Screen {
  readonly canvas = element("view", HTMLCanvasElement);
  private readonly guide = element("guide", HTMLElement);
  private readonly rows = element("channels", HTMLElement);
  private readonly banner = element("banner", HTMLElement);
  private readonly title = element("title", HTMLElement);
  private readonly on = element("on", HTMLElement);
  private readonly time = element("time", HTMLElement);
  private readonly notice = element("notice", HTMLElement);
  private readonly ask = element("ask", HTMLFormElement);
  private readonly token = element("token", HTMLInputElement);
  private readonly attribution = element("attribution", HTMLElement);
  private shown = "";

  /** The title of the channel, what is on, how far back, and the guide if it is open. */
  show(remote: Remote, on: string, nowMs: number): void {
    const { current, behindS } = remote;
    this.banner.classList.toggle("bright", nowMs - remote.touchedMs < BRIGHT_MS);
    setText(this.title, current?.title ?? "");
    setText(this.on, on === current?.title ? "" : on);
    setText(this.time, behindS > 0 ? `${behindS} s ago` : "Live");
    this.time.classList.toggle("live", behindS === 0);
    this.guide.hidden = !remote.isOpen;
    const state = JSON.stringify([remote.isOpen, remote.cursor, remote.guide]);
    if (state === this.shown) return;
    this.shown = state;
    this.rows.replaceChildren(
      ...remote.guide.map((entry, i) => {
        const row = document.createElement("li");
        row.setAttribute("aria-selected", `${i === remote.cursor}`);
        row.setAttribute("role", "option");
        const [title, about] = [document.createElement("b"), document.createElement("span")];
        title.textContent = entry.title;
        about.textContent = [
          entry.on === entry.title ? "" : entry.on,
          entry.viewers > 0 ? `${entry.viewers} watching` : "",
        ]
          .filter(Boolean)
          .join(" · ");
        row.append(title, about);
        return row;
      }),
    );
    this.rows.children[remote.cursor]?.scrollIntoView({ block: "nearest" });
  }

  /** Something that keeps the picture away; empty: all is well. */
  tell(text: string): void {
    setText(this.notice, text);
    this.notice.hidden = text === "";
  }

  /** A server outside development gives no guest tokens. */
  askForToken(handle: (token: string) => void): void {
    this.ask.hidden = false;
    this.token.focus();
    this.ask.onsubmit = (event) => {
      event.preventDefault();
      this.ask.hidden = true;
      handle(this.token.value.trim());
    };
  }

  get isAsking(): boolean {
    return !this.ask.hidden;
  }

  showAttribution(text: string): void {
    this.attribution.textContent = text;
  }
}

function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
