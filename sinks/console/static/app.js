// The console: draws the page of the address, keeps it fresh, listens to what is open.

import { drawAlerts } from "./alerts.js";
import { ask, inTurns } from "./api.js";
import { element } from "./dom.js";
import { ago, sentences } from "./format.js";
import { Panel } from "./panel.js";
import { address, current, go, RANGES } from "./view.js";

const AT_ONCE = 4; // questions; the server answers with few threads
const STALE_MS = 60_000;
const LOST_MS = 180_000;

const byId = (id) => document.getElementById(id);
let live = null;
let panels = [];
let shown = "";
let stop = new AbortController();
let timer = 0;

async function show() {
  const view = current();
  drawRanges(view);
  if (shown !== view.page) await loadPage(view);
  drawPages(view);
  drawLive();
  stop.abort();
  stop = new AbortController();
  clearTimeout(timer);
  if (view.cluster) await refresh(view, stop.signal);
}

async function loadPage({ page }) {
  try {
    const { panels: definitions, title, pages } = await ask(`/api/panels/${page}`);
    panels = definitions.map((definition) => new Panel(definition));
    byId("pages").pages = pages;
    document.title = `${title} – planewatch`;
    const sections = Map.groupBy(panels, ({ definition }) => definition.section);
    byId("panels").replaceChildren(...[...sections].map(([name, members]) =>
      element("section", { data: { section: name } },
        element("h2", { text: name }),
        element("div", { class: layoutOf(members) },
          ...members.map(({ root }) => root)))));
    shown = page;
  } catch (error) {
    byId("panels").replaceChildren(element("p", { class: "note", text: sentences(error.message, error.remedy) }));
  }
}

/** Numbers stand in one row of tiles; of charts, two or three stand beside each other. */
function layoutOf(members) {
  if (members[0].definition.form === "value") return "tiles";
  return members.filter(({ definition }) => !definition.wide).length % 3 === 0 ? "grid of-3" : "grid of-2";
}

async function refresh(view, signal) {
  if (!document.hidden) await inTurns(panels.map((panel) => () => panel.refresh(view, signal)), AT_ONCE);
  if (signal.aborted) return;
  document.body.dataset.drawn = view.page;
  timer = setTimeout(() => refresh(view, signal), RANGES[view.range]);
}

function drawPages(view) {
  byId("pages").replaceChildren(...(byId("pages").pages ?? []).map(({ page, title }) =>
    link(title, address({ ...view, page }), page === view.page, { page })));
}

function drawRanges(view) {
  byId("ranges").replaceChildren(...Object.keys(RANGES).map((range) =>
    link(range.replace(/(\d+)/, "$1 "), address({ ...view, range }), range === view.range, { range })));
}

function link(text, href, chosen, changes) {
  return element("a", {
    href, text, "aria-current": chosen ? "page" : undefined,
    on: { click: (event) => { event.preventDefault(); go(changes); } },
  });
}

function drawLive() {
  if (live === null) return;
  const view = current();
  const ids = live.clusters.map(({ id }) => id);
  if (!view.cluster && ids.length) return go({ cluster: ids[0] }, { replace: true });
  const options = [...new Set([...ids, view.cluster])].filter(Boolean);
  const picker = byId("cluster");
  if (options.join() !== picker.dataset.options) {
    picker.replaceChildren(...options.map((id) => element("option", { value: id, text: id })));
    picker.dataset.options = options.join();
  }
  picker.value = view.cluster;
  drawAlerts(byId("alerts"), live, view.cluster);
  return drawFreshness(live.clusters.find(({ id }) => id === view.cluster));
}

function drawFreshness(cluster) {
  if (live.failure) return tell("failed", "tables do not answer");
  if (!cluster) return tell("failed", "this cluster is not watched");
  if (cluster.newest_scrape_ms === null) return tell("failed", "no scrape yet: do producers run?");
  const age = live.now_ms - cluster.newest_scrape_ms;
  const answering = `${cluster.targets - cluster.failing} of ${cluster.targets} targets answer`;
  const judged = cluster.newest_evaluation_ms === null ? Infinity : live.now_ms - cluster.newest_evaluation_ms;
  const last = judged === Infinity ? "more than 15 min" : ago(judged);
  const lag = judged > STALE_MS && age < judged ? ` · rules last ran ${last} ago: does streams run?` : "";
  const late = age > LOST_MS ? "failed" : age > STALE_MS || cluster.failing || lag ? "stale" : "good";
  return tell(late, `newest scrape ${ago(age)} ago · ${answering}${lag}`);
}

function tell(level, text) {
  byId("freshness").dataset.level = level;
  byId("freshness").textContent = text;
}

function listen() {
  const stream = new EventSource("/api/live");
  stream.addEventListener("message", ({ data }) => {
    const answer = JSON.parse(data);
    live = answer.failure && live ? { ...live, failure: answer.failure } : answer;
    drawLive();
  });
  stream.addEventListener("error", () => tell("failed", "connection lost; trying again"));
}

byId("cluster").addEventListener("change", ({ target }) => go({ cluster: target.value }));
addEventListener("popstate", show);
addEventListener("view", show);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
listen();
show();
