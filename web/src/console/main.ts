/** Composes the operators' console: signs in, asks the gateway once a second, and has every act confirmed. */
import { Api, ApiError } from "./api";
import { Acts } from "./acts";
import { showCharts } from "./charts";
import { element, make, replace } from "./dom";
import { inWords, rate, whole } from "./format";
import { heatColour, ownerColour, type Measure } from "./heat";
import { History } from "./history";
import { InterestView } from "./interest";
import { HEAT_MOST, MapView } from "./mapview";
import type { Act, Interest, LogEntry, Orders, Overview, People, Samples } from "./model";
import { log as logPanel, members, orders as ordersPanel, people as peoplePanel, regions } from "./panels";
import { RegionCard } from "./regioncard";

const ASK_MS = 1000;
const CHARTS_MS = 5000;
const OUTCOME_MS = 12_000;
const PAGE_SIZE = 25;
const TABS = ["members", "regions", "sessions", "orders", "log"] as const;
type Tab = (typeof TABS)[number];
const api = new Api();
const history = new History();
const map = new MapView(element("map", HTMLCanvasElement));
const interestPart = element("interest", HTMLElement);
const outcome = element("outcome", HTMLElement);
const query = element("query", HTMLInputElement);
let overview: Overview | null = null;
let found: People | null = null;
let tab: Tab = "members";
let page = 0;
let watched: { session: string; entity: string | null; view: InterestView } | null = null;
let chartsAt = 0;
let awaited = 0;
let outcomeAt = 0;
let isAsking = false;

const acts = new Acts(
  ask,
  (number) => {
    map.choose(number);
  },
  (row) => {
    watch(row.session, null);
  },
);
const card = new RegionCard(element("region", HTMLElement), acts);

async function ask(act: Act): Promise<void> {
  try {
    awaited = await api.act(act);
    tell(`Asked (${awaited}): ${inWords({ ...act })}`, "");
  } catch (error) {
    failed(error);
  }
}

// ---------------------------------------------------------------------------------------------------------- showing
function tell(text: string, kind: string): void {
  outcome.textContent = text;
  outcome.className = kind;
  outcome.hidden = false;
  outcomeAt = performance.now();
}

function failed(error: unknown): void {
  if (error instanceof ApiError && (error.status === 401 || error.status === 403)) signOut(error.message);
  else tell(error instanceof Error ? error.message : String(error), "failed");
}

function showOverview(told: Overview): void {
  overview = told;
  map.show(told);
  element("world", HTMLElement).textContent = told.world;
  document.title = `${told.world} – Isthmus console`;
  element("summary", HTMLElement).textContent =
    `${whole(told.online)} people, ${whole(told.sessions)} sessions · ${whole(told.entities)} entities · ` +
    `${whole(told.regions_total)} regions · ${told.shards.length} shards, ${told.gateways.length} gateways · tick ${whole(told.tick)}`;
  const warnings = [...told.warnings];
  if (told.without_owner > 0) warnings.unshift(`${told.without_owner} regions have no owner`);
  const warning = element("warning", HTMLElement);
  warning.textContent = warnings.join(" · ");
  warning.hidden = warnings.length === 0;
  showLegend();
  card.show(told, map.chosen);
  if (tab === "members") replace(element("members", HTMLElement), ...members(told, acts));
  if (tab === "regions") {
    const by = map.measure === "owner" ? "entities" : map.measure;
    replace(element("regions", HTMLElement), regions(told, by, acts));
  }
  for (const mark of document.querySelectorAll<HTMLElement>("i.owner")) {
    mark.style.backgroundColor = ownerColour(Number(mark.dataset.owner));
  }
}

function showLegend(): void {
  const legend = element("legend", HTMLElement);
  if (map.measure === "owner") {
    legend.replaceChildren("Colours are shards; light cells: entities that this gateway mirrors");
    return;
  }
  const say = {
    entities: (value: number) => `${whole(value)} entities`,
    tick_ms: (value: number) => `${value.toFixed(2)} ms a tick`,
    bytes_per_s: rate,
  }[map.measure];
  const steps = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const step = make("span", { class: "step" }, say(map.most * part * part));
    step.style.borderColor = heatColour(part * HEAT_MOST);
    return step;
  });
  const cells = map.measure === "entities" ? [make("span", {}, "light cells: entities that this gateway mirrors")] : [];
  legend.replaceChildren(...steps, ...cells);
}

function showLog(entries: readonly LogEntry[], file: string): void {
  if (tab === "log") replace(element("log", HTMLElement), ...logPanel(file, entries));
  const over = entries.find((entry) => entry.of === awaited);
  if (awaited !== 0 && over !== undefined) {
    awaited = 0;
    tell(`${over.state === "done" ? "Done" : "Not done"} (${over.of}): ${over.result}`, over.state);
  }
  if (performance.now() - outcomeAt > OUTCOME_MS) outcome.hidden = true;
}

function showPeople(answer: People): void {
  found = answer;
  page = answer.page;
  const pages = Math.max(1, Math.ceil(answer.total / answer.size));
  element("page", HTMLElement).textContent = `${answer.page + 1} of ${pages}`;
  element("back", HTMLButtonElement).disabled = answer.page === 0;
  element("on", HTMLButtonElement).disabled = answer.page + 1 >= pages;
  replace(element("people", HTMLElement), peoplePanel(answer, acts));
}

function watch(session: string, entity: string | null): void {
  interestPart.hidden = false;
  const view = new InterestView(interestPart, {
    about: (number) => {
      if (watched !== null) watched.entity = number;
      void askInterest();
    },
    close: () => {
      watched = null;
      interestPart.hidden = true;
    },
  });
  watched = { session, entity, view };
  void askInterest().then(() => {
    interestPart.scrollIntoView({ block: "nearest" });
  });
}

// ----------------------------------------------------------------------------------------------------------- asking
async function askInterest(): Promise<void> {
  const asked = watched;
  if (asked === null) return;
  const about = asked.entity === null ? {} : { entity: asked.entity };
  try {
    const told = await api.get<Interest>("interest", { session: asked.session, ...about });
    if (watched === asked) asked.view.show(told);
  } catch (error) {
    if (error instanceof ApiError && (error.status === 404 || error.status === 400)) asked.view.fail(error.message);
    else throw error;
  }
}

async function askPeople(): Promise<void> {
  showPeople(await api.get<People>("sessions", { q: query.value, page, size: PAGE_SIZE }));
}

async function askAll(): Promise<void> {
  const { viewport } = map;
  const around = viewport.isWhole ? {} : { x_m: viewport.x, z_m: viewport.z, side_m: viewport.side };
  const [told, entries] = await Promise.all([
    api.get<Overview>("overview", overview === null ? {} : around),
    api.get<{ file: string; entries: readonly LogEntry[] }>("log", { count: 50 }),
    tab === "sessions" ? askPeople() : null,
    tab === "orders"
      ? api.get<Orders>("orders").then((all) => {
          replace(element("orders", HTMLElement), ...ordersPanel(all, acts));
        })
      : null,
    askInterest(),
  ]);
  showOverview(told);
  showLog(entries.entries, entries.file);
  if (performance.now() - chartsAt > CHARTS_MS || chartsAt === 0) {
    chartsAt = performance.now();
    history.add(await api.get<Samples>("history", { since: history.next }));
    showCharts(element("plots", HTMLElement), history);
  }
}

/** One question at a time: a gateway that is slow is not asked more. */
async function look(): Promise<void> {
  if (!api.hasSecret || isAsking || document.hidden) return;
  isAsking = true;
  const connection = element("connection", HTMLElement);
  try {
    await askAll();
    connection.textContent = "";
    element("desk", HTMLElement).hidden = false;
  } catch (error) {
    if (error instanceof ApiError && error.status === 0) connection.textContent = `${error.message}; trying again`;
    else failed(error);
  } finally {
    isAsking = false;
  }
}

// ---------------------------------------------------------------------------------------------------------- signing in
async function signIn(): Promise<void> {
  try {
    const me = await api.get<{ name: string }>("me");
    element("operator", HTMLElement).textContent = `(${me.name})`;
    element("sign-in", HTMLElement).hidden = true;
    element("desk", HTMLElement).hidden = false;
    await look();
  } catch (error) {
    signOut(error instanceof Error ? error.message : String(error));
  }
}

function signOut(text: string): void {
  api.signOut();
  element("desk", HTMLElement).hidden = true;
  element("sign-in", HTMLElement).hidden = false;
  element("sign-in-message", HTMLElement).textContent = text;
  element("secret", HTMLInputElement).focus();
}

element("sign-in", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  const secret = element("secret", HTMLInputElement);
  api.signIn(secret.value.trim());
  secret.value = "";
  void signIn();
});
element("sign-out", HTMLButtonElement).addEventListener("click", () => {
  signOut("");
});
element("say", HTMLButtonElement).addEventListener("click", () => void acts.say());
element("whole", HTMLButtonElement).addEventListener("click", () => {
  map.whole();
});
element("heat", HTMLElement).addEventListener("change", (event) => {
  map.measure = (event.target as HTMLInputElement).value as Measure;
  map.draw();
  if (overview !== null) showOverview(overview);
});
map.onChosen = (chosen) => {
  if (overview !== null) card.show(overview, chosen);
};
map.onMoved = () => void look();
query.addEventListener("input", () => {
  page = 0;
  void askPeople().catch(failed);
});
element("search", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
});
for (const [id, step] of [
  ["back", -1],
  ["on", 1],
] as const) {
  element(id, HTMLButtonElement).addEventListener("click", () => {
    page = Math.max(0, page + step);
    void askPeople().catch(failed);
  });
}

function open(name: Tab): void {
  tab = name;
  for (const each of TABS) {
    const head = element(`tab-${each}`, HTMLButtonElement);
    head.setAttribute("aria-selected", String(each === name));
    head.tabIndex = each === name ? 0 : -1;
    element(each, HTMLElement).hidden = each !== name;
  }
  if (overview !== null) showOverview(overview);
  void look();
}

for (const name of TABS) {
  const head = element(`tab-${name}`, HTMLButtonElement);
  head.addEventListener("click", () => {
    open(name);
  });
  head.addEventListener("keydown", (event) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (step === 0) return;
    const next = TABS[(TABS.indexOf(name) + step + TABS.length) % TABS.length] ?? name;
    open(next);
    element(`tab-${next}`, HTMLButtonElement).focus();
  });
}

setInterval(() => void look(), ASK_MS);
document.addEventListener("visibilitychange", () => void look());
if (api.hasSecret) void signIn();
else signOut("");

/** For tests and the curious. */
Object.defineProperty(window, "isthmusConsole", {
  value: { overview: () => overview, people: () => found, samples: () => history.at.length, chosen: () => map.chosen },
});
