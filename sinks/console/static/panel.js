// One panel: a question, its answer in one of five forms, and what to do when it is red. A panel is always
// in one state (data-state): loading, drawn, empty or failed; and of one level (data-level).

import { ask, rowsOf } from "./api.js";
import { drawCurves, drawTimeline } from "./charts.js";
import { element } from "./dom.js";
import { ago, clock, measure, moment, parts, sentences } from "./format.js";
import { levelOf, worst } from "./levels.js";

const STALE_MS = 90_000; // six evaluations of 15 s
const DAY_MS = 86_400_000;

const FORMS = { lines: curves, stacked: curves, timeline, value, table };

export class Panel {
  constructor(definition) {
    this.definition = definition;
    this.holds = false; // a drawn answer
    this.body = element("div", { class: "body" }, element("p", { class: "note", text: "loading" }));
    this.advice = element("p", { class: "advice", hidden: true });
    this.root = element("article",
      { class: "panel", data: { panel: definition.id, form: definition.form, state: "loading", level: "good" } },
      element("h3", {}, element("span", { class: "lamp" }), definition.title),
      element("p", { class: "what", text: definition.what }),
      this.body, this.advice);
    if (definition.wide) this.root.classList.add("wide");
  }

  /** Ask and draw. What was drawn before stays, marked as failed, if the answer does not come. */
  async refresh({ cluster, range }, signal) {
    const { query, parameters } = this.definition;
    try {
      const answer = await ask(`/api/query/${query}`, { ...parameters, cluster, range }, { signal });
      if (signal.aborted) return;
      if (answer.rows === 0) this.#tell("empty", this.definition.when_empty || "No data in this range.");
      else this.#draw(answer);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#tell("failed", sentences(error.message, error.remedy));
      if (error.remedy === undefined) console.error(error);
    }
  }

  #draw(answer) {
    const level = FORMS[this.definition.form](this.body, this.definition, answer);
    this.holds = true;
    this.#become("drawn", level);
    this.#advise(level === "good" ? "" : this.definition.when_red);
  }

  #tell(state, text) {
    this.holds &&= state === "failed"; // an old answer beside the reason is worth more than the reason alone
    if (!this.holds) this.body.replaceChildren(element("p", { class: "note", text }));
    this.#advise(this.holds ? text : "");
    this.#become(state, state === "failed" ? "warning" : "good");
  }

  #become(state, level) {
    this.root.dataset.state = state;
    this.root.dataset.level = level;
  }

  #advise(text) {
    this.advice.hidden = !text;
    this.advice.textContent = text;
  }
}

function curves(body, panel, answer) {
  const newest = drawCurves(body, panel, answer);
  const fresh = newest.filter(({ time }) => answer.to_ms - time < STALE_MS + answer.step_s * 1000);
  return worst(fresh.map((one) => levelOf(one.value, panel.thresholds)));
}

function timeline(body, panel, answer) {
  const last = drawTimeline(body, panel, answer);
  const bad = last.filter(({ state, time }) => panel.bad_states.includes(state) && answer.to_ms - time < STALE_MS);
  return bad.length ? "critical" : "good";
}

function value(body, panel, answer) {
  const [row] = rowsOf(answer);
  const [number, unit] = parts(row.value, panel.unit);
  const level = levelOf(row.value, panel.thresholds);
  const age = answer.to_ms - row.time;
  const stale = age > STALE_MS ? `${ago(age)} old` : "";
  body.replaceChildren(
    element("p", { class: "number" }, number, element("small", { text: unit })),
    element("p", { class: "which", text: [row.curve, stale].filter(Boolean).join(" · ") || "\u00a0" }));
  return stale ? worst([level, "warning"]) : level;
}

function table(body, panel, answer) {
  const { columns } = answer;
  const far = answer.to_ms - answer.from_ms >= DAY_MS;
  const head = element("tr", {}, ...columns.map(({ name }) => element("th", { text: name.replaceAll("_", " ") })));
  const rows = rowsOf(answer).map((row) => element("tr", { data: { level: row.level ?? "" } },
    ...columns.map(({ name, kind }) => element("td", { class: `of-${name}`, text: cell(row[name], kind, far) }))));
  const scroll = body.querySelector(".scroll")?.scrollTop ?? 0;
  body.replaceChildren(element("div", { class: "scroll", tabindex: 0 },
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows))));
  body.firstChild.scrollTop = scroll;
  return "good";
}

function cell(value, kind, far) {
  if (value === null) return "";
  if (kind === "time") return far ? moment(value) : clock(value);
  return kind === "number" ? measure(value, "") : value;
}
