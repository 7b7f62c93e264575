// The open alerts on top of every page. `unknown` is shown as what it is: nobody can tell.

import { element } from "./dom.js";
import { ago, moment } from "./format.js";

const SHOWN_MAX = 20;

/** Draw the alerts of `cluster`; tell how many other clusters have. */
export function drawAlerts(root, live, cluster) {
  if (live.failure) {
    root.replaceChildren(element("p", { class: "calm failed" }, `Alerts cannot be read: ${live.failure.error} ${live.failure.remedy}`));
    return;
  }
  const real = live.alerts.filter(({ severity }) => severity !== "none");
  const here = real.filter((alert) => alert.cluster === cluster);
  const life = live.alerts.find((alert) => alert.severity === "none" && alert.cluster === cluster);
  const cards = here.slice(0, SHOWN_MAX).map((alert) => card(alert, live.now_ms));
  if (here.length > SHOWN_MAX) cards.push(element("p", { class: "calm", text: `and ${here.length - SHOWN_MAX} more` }));
  root.dataset.open = here.length;
  root.replaceChildren(...cards, status(here, real.length - here.length, life, live.now_ms));
}

function card(alert, now) {
  const unknown = alert.status === "unknown";
  return element("article", { class: "alert", data: { severity: alert.severity, status: alert.status, alert: alert.name } },
    element("span", { class: "severity", text: unknown ? `unknown (${alert.severity})` : alert.severity }),
    element("div", { class: "story" },
      element("h2", { text: alert.summary }),
      unknown ? element("p", { class: "gone", text: "Its data stopped: nobody can tell whether this is over. Treat it as firing." }) : null,
      element("p", { class: "first" }, element("b", { text: "First: " }), alert.first_action)),
    element("dl", {},
      element("dt", { text: "since" }),
      element("dd", { text: `${ago(now - alert.since_ms)} ago`, title: `${moment(alert.since_ms)} UTC` }),
      element("dt", { text: "rule" }), element("dd", { text: alert.name, title: alert.description }),
      element("dt", { text: "runbook" }), element("dd", {}, runbook(alert.runbook))));
}

function runbook(address) {
  if (!/^https?:\/\//.test(address)) return element("span", { text: address || "none" });
  return element("a", { href: address, rel: "noreferrer noopener", target: "_blank", text: "open" });
}

function status(here, elsewhere, life, now) {
  const words = [];
  if (here.length === 0) words.push("No open alerts in this cluster.");
  if (elsewhere > 0) words.push(`${elsewhere} in other clusters.`);
  const sign = life
    ? element("span", { class: "life", title: life.summary, text: `${life.name} fires since ${moment(life.since_ms)}` })
    : element("span", { class: "life missing", text: "No sign of life: Watchdog does not fire. Does streams run?" });
  return element("p", { class: here.length ? "calm" : "calm good" }, words.join(" "), " ", sign);
}
