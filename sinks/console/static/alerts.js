// The open alerts on top of every page. `unknown` is shown as what it is: nobody can tell.

import { element } from "./dom.js";
import { ago, moment, sentences } from "./format.js";

const CARDS_MAX = 12;
const LINES_MAX = 6;

/** Draw the alerts of `cluster`, one card for each rule; tell how many other clusters have. */
export function drawAlerts(root, live, cluster) {
  const real = live.alerts.filter(({ severity }) => severity !== "none");
  const here = real.filter((alert) => alert.cluster === cluster);
  const life = live.alerts.find((alert) => alert.severity === "none" && alert.cluster === cluster);
  const groups = [...Map.groupBy(here, ({ name, status, severity }) => [severity, status, name].join(" ")).values()];
  const cards = groups.slice(0, CARDS_MAX).map((group) => card(group, live.now_ms));
  if (groups.length > CARDS_MAX) cards.push(element("p", { class: "calm", text: `and ${groups.length - CARDS_MAX} more rules` }));
  root.dataset.open = here.length;
  root.replaceChildren(...cards, live.failure
    ? failed(live.failure, cards.length > 0)
    : status(here, real.length - here.length, life));
}

/** Alerts of one rule: same severity and status, so the same first action. */
function card(group, now) {
  const [alert] = group;
  const unknown = alert.status === "unknown";
  const since = Math.min(...group.map(({ since_ms }) => since_ms));
  const more = group.length - LINES_MAX;
  return element("article", { class: "alert", data: { severity: alert.severity, status: alert.status, alert: alert.name } },
    element("span", { class: "severity", text: unknown ? "unknown" : alert.severity }),
    element("div", { class: "story" },
      ...group.slice(0, LINES_MAX).map(({ summary, since_ms }) =>
        element("h2", { text: summary, title: `since ${moment(since_ms)} UTC` })),
      more > 0 ? element("p", { text: `and ${more} more` }) : null,
      unknown ? element("p", { class: "gone", text: `Was ${alert.severity}; its data stopped, so nobody can tell whether it is over. Treat it as firing.` }) : null,
      element("p", { class: "first" }, element("b", { text: "First: " }), alert.first_action)),
    element("dl", {},
      element("dt", { text: "since" }),
      element("dd", { text: `${ago(now - since)} ago`, title: `${moment(since)} UTC` }),
      element("dt", { text: "rule" }), element("dd", { text: alert.name, title: alert.description }),
      element("dt", { text: "runbook" }), element("dd", {}, runbook(alert.runbook))));
}

function runbook(address) {
  if (!/^https?:\/\//.test(address)) return element("span", { text: address || "none" });
  return element("a", { href: address, rel: "noreferrer noopener", target: "_blank", text: "open" });
}

function failed({ error, remedy }, known) {
  const text = sentences(known ? "These may have changed: alerts cannot be read" : "Alerts cannot be read", error, remedy);
  return element("p", { class: "calm failed", text });
}

function status(here, elsewhere, life) {
  const words = [];
  if (here.length === 0) words.push("No open alerts in this cluster.");
  if (elsewhere > 0) words.push(`${elsewhere} in other clusters.`);
  const sign = life
    ? element("span", { class: "life", title: life.summary, text: `${life.name} fires since ${moment(life.since_ms)}` })
    : element("span", { class: "life missing", text: "No sign of life: Watchdog does not fire. Does streams run?" });
  return element("p", { class: here.length ? "calm" : "calm good" }, words.join(" "), " ", sign);
}
