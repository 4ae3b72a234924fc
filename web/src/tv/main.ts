/** Composes the television page: session, channel, remote control, stage and screen, and the loops that drive them. */
import { Vector3 } from "three";

import { MapLoader } from "../map/loader";
import { guestToken, Shell } from "../net/shell";
import { WATCHING } from "../protocol/channels";
import type { ServerMessage } from "../protocol/messages";
import { Picture } from "../render/picture";
import { Stage } from "../render/stage";
import { Town } from "../render/town";
import { keyOf } from "./keys";
import { Remote, type Entry } from "./remote";
import { Screen } from "./screen";
import { Television } from "./television";

const NAME = "Television";
const IDLE_EVERY_MS = 100;
const SHOW_EVERY_MS = 250;
const GUIDE_EVERY_MS = 5000;
const NOTICE_MS = 20_000;
const TRY_AGAIN_MS = 3000;
const MAP_TRY_AGAIN_MS = 2000;

const screen = new Screen();
const stage = new Stage(screen.canvas, true);
const picture = new Picture();
const television = new Television();
const remote = new Remote(location.hash === "" ? null : decodeURIComponent(location.hash.slice(1)));
const look = new Vector3();
let map: MapLoader | null = null;
let mapUrl: string | null = null;
let lastFrameMs = performance.now();

stage.scene.add(picture.group);

const shell = new Shell(
  receive,
  (status) => {
    screen.tell(status.state === "welcomed" ? "" : status.text);
    if (status.state === "ended") setTimeout(() => void join(), TRY_AGAIN_MS);
  },
  "tv",
);

function receive(message: ServerMessage): void {
  television.apply(message, performance.now());
  shell.session.applied(television.applied);
  switch (message.type) {
    case "welcome": {
      const { name, behindS } = remote.wanted;
      shell.run(shell.session.watch(name, behindS));
      screen.showAttribution(message.attribution);
      if (message.map !== null && message.map !== mapUrl) void openMap(message.map);
      break;
    }
    case "channel":
      if (message.code === WATCHING) {
        remote.watching(message.name, message.behindMs);
        history.replaceState(null, "", `#${encodeURIComponent(message.name)}`);
        screen.tell("");
      } else screen.tell(message.text);
      break;
    case "notice":
      screen.tell(message.text);
      setTimeout(() => {
        screen.tell("");
      }, NOTICE_MS);
      break;
    default:
      break;
  }
}

async function openMap(path: string): Promise<void> {
  mapUrl = path;
  const loading: { town: Town | null } = { town: null };
  try {
    map = await MapLoader.open(new URL(path, location.href), (tile) => loading.town?.add(tile));
  } catch {
    setTimeout(() => void openMap(path), MAP_TRY_AGAIN_MS);
    return;
  }
  loading.town = new Town(map.index.tileM);
  stage.scene.add(loading.town.group);
  screen.showAttribution(map.index.attribution);
}

/** With a guest's token, or one that is asked for; a television tries for ever. */
async function join(): Promise<void> {
  try {
    const token = await guestToken(NAME);
    if (token === null) {
      screen.askForToken((given) => {
        shell.run(shell.session.join(NAME, given));
      });
      return;
    }
    shell.run(shell.session.join(NAME, token));
  } catch (error) {
    screen.tell(error instanceof Error ? error.message : String(error));
    setTimeout(() => void join(), TRY_AGAIN_MS);
  }
}

async function readGuide(): Promise<void> {
  try {
    const response = await fetch(new URL("/channels.json", location.href));
    const answer = (await response.json()) as { channels?: readonly Entry[] };
    if (answer.channels !== undefined) remote.learn(answer.channels);
  } catch {
    // The server is away, as the session says; the guide is asked for again.
  }
}

function draw(now: number): void {
  const dtS = Math.min(0.25, (now - lastFrameMs) / 1000);
  lastFrameMs = now;
  television.advance(performance.now());
  const { view } = television;
  if (view === null || television.isHalf) return; // the picture before stays
  map?.want(view[3], view[5], stage.viewM);
  stage.camera.position.set(view[0], view[1], view[2]);
  stage.camera.lookAt(look.set(view[3], view[4], view[5]));
  picture.draw(television, null, null);
  stage.render(dtS);
}

function show(): void {
  const now = performance.now();
  const due = shell.session.state === "welcomed" ? remote.due(now) : null;
  if (due !== null) shell.run(shell.session.watch(due.name, due.behindS));
  screen.show(remote, television.camera?.text ?? "", now);
}

window.addEventListener("keydown", (event) => {
  // Deprecated, and all that some televisions say of the keys that others have no name for.
  const code: unknown = Reflect.get(event, "keyCode");
  const key = screen.isAsking ? null : keyOf(event.key, Number(code));
  if (key === null) return;
  event.preventDefault();
  remote.press(key, performance.now());
  if (remote.isOpen) void readGuide();
  show();
});

const state = {
  get state() {
    return shell.session.state;
  },
  get channel() {
    return television.channel?.name ?? null;
  },
  get tick() {
    return television.tick;
  },
  /** As shown: the eye and what it looks at, metres. */
  get view() {
    return television.view === null ? null : [...television.view];
  },
  /** As the standard has it at the tick that is shown. */
  get directed() {
    const pose: [number, number, number, number, number, number] = [0, 0, 0, 0, 0, 0];
    return television.pose(television.tick, pose) ? pose : null;
  },
  get camera() {
    const { camera } = television;
    return camera === null ? null : { tick: camera.tick, moveMs: camera.moveMs, text: camera.text };
  },
  get inView() {
    return television.entities.count;
  },
  get crowd() {
    return television.crowd.total;
  },
  get behindS() {
    return remote.behindS;
  },
  get rejected() {
    return shell.rejected;
  },
  get drawCalls() {
    return stage.renderer.info.render.calls;
  },
};
Object.defineProperty(window, "isthmus", { value: Object.freeze(state), writable: false });

setInterval(() => {
  shell.run(shell.session.idle(performance.now()));
}, IDLE_EVERY_MS);
setInterval(show, SHOW_EVERY_MS);
setInterval(() => void readGuide(), GUIDE_EVERY_MS);
stage.renderer.setAnimationLoop(draw);
void readGuide();
void join();
