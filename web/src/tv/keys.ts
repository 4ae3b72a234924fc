/** The keys of remote controls, by name and, where a television's browser has no name for them, by code. Pure. */
import type { Key } from "./remote";

const NAMES: Readonly<Record<string, Key>> = {
  ...{ ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right", Enter: "ok", " ": "ok" },
  ...{ Escape: "back", Backspace: "back", GoBack: "back", BrowserBack: "back" },
  ...{ ChannelUp: "up", ChannelDown: "down", MediaRewind: "left", MediaFastForward: "right" },
};
/** HbbTV (ETSI TS 102 796) and set makers: rewind, fast forward, channel up and down, and two codes of Back. */
const CODES: Readonly<Record<number, Key>> = {
  ...{ 412: "left", 417: "right", 427: "up", 428: "down", 461: "back", 10009: "back" },
};

/** What a key means; null: nothing here. */
export function keyOf(name: string, code: number): Key | null {
  return NAMES[name] ?? CODES[code] ?? null;
}
