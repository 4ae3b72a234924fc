/** Composes the page: session, game, stage and page elements, and the loops that drive them. */
import { debugState, type ChatEntry } from "./debug";
import { Game, type Terrain } from "./game";
import { MapLoader } from "./map/loader";
import { guestToken, Shell } from "./net/shell";
import type { ServerMessage, Welcome } from "./protocol/messages";
import { Follow } from "./render/camera";
import { Picture } from "./render/picture";
import { Stage } from "./render/stage";
import { Tags, type Tagged } from "./render/tags";
import { Town } from "./render/town";
import { Keys } from "./ui/keys";
import { Page } from "./ui/page";
import { loadTicket, storeTicket } from "./ui/ticket";
import { Ground } from "./walk";
import { toLatLon } from "./world/anchor";
import { parseLine } from "./world/chatline";
import { hasHeadset } from "./xr/headset";
import { Vr } from "./xr/vr";

const INPUT_EVERY_MS = 10;
const HUD_EVERY_MS = 250;
/** Code of a NOTICE that an operator says to everybody (SESSIONS.md §7). */
const OPERATOR_SAYS = 7;
/** A world without a map is a bare plain: its bounds are the server's to know. */
const PLAIN: Terrain = { ground: new Ground(-Infinity, -Infinity, Infinity, Infinity), covers: () => true };

const page = new Page();
const game = new Game();
const keys = new Keys(page.canvas);
const stage = new Stage(page.canvas);
const picture = new Picture();
const tags = new Tags(page.tags);
const follow = new Follow();
const chatLog: ChatEntry[] = [];
let map: MapLoader | null = null;
let mapUrl: string | null = null;
let joinedAs = "";
/** A guest whose token is refused (the server was started anew) gets another one, once for each time in the world. */
let guestRenews = false;
let guest = false;
let lastFrameMs = performance.now();
let lastHudMs = 0;

stage.scene.add(picture.group);

const shell = new Shell(receive, (status) => {
  page.showStatus(status);
  if (status.state === "waiting") vr.say(status.text);
  if (status.state !== "ended") return;
  storeTicket(null);
  if (status.wantsToken && guestRenews) {
    guestRenews = false;
    void join(joinedAs, "");
  }
});

const vr = new Vr(stage, game, shell);

function receive(message: ServerMessage): void {
  const now = performance.now();
  game.apply(message, now, shell.session.overDatagrams);
  switch (message.type) {
    case "welcome":
      welcomed(message);
      break;
    case "structure":
    case "frame":
    case "values":
      shell.session.applied(...game.entities.applied);
      break;
    case "chat":
      chatLog.push({ scope: message.scope, from: message.from, name: message.name, text: message.text });
      if (chatLog.length > 500) chatLog.shift();
      page.showChat(message, message.from === game.welcome?.body);
      vr.say(`${message.name}: ${message.text}`);
      break;
    case "presence":
      page.showPeople(message.online, game.people.sorted, game.welcome?.body ?? null);
      break;
    case "notice":
      page.showNotice(message.code === OPERATOR_SAYS ? `An operator: ${message.text}` : message.text);
      vr.say(message.text);
      break;
    case "event":
      vr.heard(message.name, message.payload);
      break;
    default:
      break;
  }
}

function welcomed(welcome: Welcome): void {
  storeTicket({ resume: welcome.resume, name: joinedAs, atMs: Date.now() });
  guestRenews = guest;
  vr.welcomed(welcome.body);
  page.showAttribution(welcome.attribution);
  if (welcome.map === null) {
    game.setTerrain(PLAIN);
    return;
  }
  if (welcome.map !== mapUrl) void openMap(welcome.map);
}

async function openMap(path: string): Promise<void> {
  mapUrl = path;
  const loading: { town: Town | null } = { town: null };
  try {
    map = await MapLoader.open(new URL(path, location.href), (tile) => loading.town?.add(tile));
  } catch (error) {
    page.showNotice(`The map could not be loaded (${String(error)}). Trying again.`);
    setTimeout(() => void openMap(path), 2000);
    return;
  }
  loading.town = new Town(map.index.tileM);
  stage.scene.add(loading.town.group);
  page.showAttribution(map.index.attribution);
  game.setTerrain(map);
}

async function join(name: string, pasted: string): Promise<void> {
  try {
    const token = pasted === "" ? await guestToken(name) : pasted;
    if (token === null) {
      page.askForToken();
      page.refuse("This server asks for an access token. Please paste yours.");
      return;
    }
    joinedAs = name;
    guest = pasted === "";
    shell.run(shell.session.join(name, token));
  } catch (error) {
    page.refuse(error instanceof Error ? error.message : String(error));
  }
}

/** Sends what keys or controllers wish at the world's rate, whatever the speed of drawing. */
function input(): void {
  const now = performance.now();
  const wish = vr.isOn ? vr.wish : keys.wish;
  for (let due = game.command(wish, now); due !== null; due = game.command(wish, now)) {
    shell.run(shell.session.input(due.seq, [due.command], now, game.pending));
  }
  vr.speak(now);
  shell.advance(now, game.pending);
}

/** One frame, of the page or of a headset. */
function draw(_: number, frame: XRFrame | undefined): void {
  const now = performance.now();
  const dtS = Math.min(0.25, (now - lastFrameMs) / 1000);
  lastFrameMs = now;
  game.advance(now);
  const { body } = game;
  if (body !== null) map?.want(body.feet[0], body.feet[2], stage.viewM);
  const inHeadset = frame !== undefined && vr.isOn;
  if (inHeadset) vr.frame(frame, map?.ground ?? (mapUrl === null ? PLAIN.ground : null), now, dtS);
  else if (body !== null) follow.place(stage.camera, map?.ground ?? null, body.feet, keys.yaw, keys.pitch, dtS);
  const self = body === null ? null : { id: game.welcome?.body ?? 0n, ...body };
  picture.draw(game, self, inHeadset ? vr : null);
  stage.render(dtS);
  if (!inHeadset) drawPage(now);
}

/** What lies over the picture. */
function drawPage(now: number): void {
  const named: Tagged[] = [];
  for (const { id, number, x, y, z } of game.entities.all) {
    const name = game.nameOf(id, number);
    if (name !== "") named.push({ name, x, y, z });
  }
  tags.draw(stage.camera, named);
  if (now - lastHudMs < HUD_EVERY_MS) return;
  lastHudMs = now;
  const { body } = game;
  const anchor = game.welcome?.anchor ?? null;
  page.showHud({
    tick: game.entities.records.tick,
    rttMs: game.clock?.rttMs ?? null,
    inView: game.entities.count,
    farther: game.crowd.total,
    position: body?.feet ?? null,
    place: anchor === null || body === null ? null : toLatLon(anchor, body.feet[0], body.feet[2]),
  });
}

page.onJoin((name, token) => void join(name, token));
page.onLeave(() => {
  shell.run(shell.session.leave());
});
page.onChat(
  (text, scope) => {
    const line = parseLine(text, scope, game.people);
    if ("error" in line) page.showNotice(line.error);
    else shell.run(shell.session.chat(line.scope, line.text, line.to));
  },
  () => {
    keys.release();
  },
);

debugState(() => ({ game, shell, map, chatLog, stage, keys, vr }));
setInterval(input, INPUT_EVERY_MS);
const pulse = new Worker(new URL("./net/pulse.ts", import.meta.url), { type: "module" });
pulse.onmessage = () => {
  shell.advance(performance.now(), game.pending);
};
stage.renderer.setAnimationLoop(draw);

void hasHeadset().then((has) => {
  page.offerHeadset(has, () => {
    vr.enter().catch((error: unknown) => {
      page.showNotice(`The headset could not be used: ${error instanceof Error ? error.message : String(error)}`);
    });
  });
});

/** After a reload: back into the same body, if the server still keeps it. */
async function resume(): Promise<void> {
  const ticket = loadTicket(Date.now());
  if (ticket === null) return;
  joinedAs = ticket.name;
  page.setName(ticket.name);
  const atMs = performance.now() - (Date.now() - ticket.atMs);
  // A guest's token is for the case that the body is gone; a server without guests goes by the ticket.
  const token = await guestToken(ticket.name).catch(() => null);
  guest = token !== null;
  shell.run(shell.session.join(ticket.name, token, { resume: ticket.resume, atMs }));
}

window.addEventListener("pagehide", () => {
  const { resumeTicket } = shell.session;
  storeTicket(resumeTicket === null ? null : { resume: resumeTicket, name: joinedAs, atMs: Date.now() });
});
void resume();
