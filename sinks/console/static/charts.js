// Draw curves and timelines with plotly.js, which the page loads from this server as a script.

import { element } from "./dom.js";
import { clock, measure, moment, scale } from "./format.js";

const COLOURS = ["#3b82c4", "#e08a2e", "#3f9d6b", "#c2558f", "#8b6fc9", "#b3973a", "#2ba3a8", "#d0604c",
  "#6b7fd7", "#7fa23c", "#a8706a", "#5b93a6"];
const OTHER = "#8a919c";
const STATES = { ok: "#3f9d6b", leads: "#3b82c4", follows: "#a9b6c4", too_big: "#e08a2e", removed: "#8a919c" };
const BAD = "#d0443c";
const HOLE = 2.5; // steps without a point before a curve is broken

/** Draw `answer` (time, curve, value) into `body`; return the newest value of each curve. */
export function drawCurves(body, panel, answer) {
  const curves = curvesOf(answer);
  const largest = Math.max(0, ...curves.flatMap(({ values }) => values));
  const { factor, suffix } = scale(panel.unit, largest);
  const traces = curves.map((curve, i) => trace(curve, i, panel, answer.step_s * 1000, factor));
  const layout = base(answer);
  layout.yaxis = axis({ rangemode: "tozero", ticksuffix: suffix && `\u202f${suffix}`, nticks: 5 });
  layout.shapes = panel.thresholds.filter((one) => near(one, largest)).map((threshold) => line(threshold, factor));
  react(body, traces, layout);
  const newest = curves.map(({ name, times, values }) => ({ name, time: times.at(-1), value: values.at(-1) }));
  explain(body, newest.map(({ name, value }, i) =>
    ({ colour: traces[i].line.color, name, value: measure(value, panel.unit) })));
  return newest;
}

/** Draw `answer` (lane, state, begin, end) into `body`; return the last state of each lane. */
export function drawTimeline(body, panel, answer) {
  const [lanes, states, begins, ends] = ["lane", "state", "begin", "end"].map((name) =>
    answer.columns.find((column) => column.name === name).values);
  const bad = new Set(panel.bad_states);
  const kinds = [...new Set(states)];
  const colour = (state) => (bad.has(state) ? BAD : STATES[state] ?? OTHER);
  const traces = kinds.map((kind) => {
    const at = states.flatMap((state, i) => (state === kind ? [i] : []));
    return {
      type: "bar", orientation: "h", name: plain(kind), width: 0.62, marker: { color: colour(kind) },
      y: at.map((i) => plain(lanes[i])), base: at.map((i) => begins[i]), x: at.map((i) => ends[i] - begins[i]),
      text: at.map((i) => `${plain(lanes[i])}: ${plain(kind)}, ${moment(begins[i])} to ${clock(ends[i])}`),
      hovertemplate: "%{text}<extra></extra>", textposition: "none",
    };
  });
  const names = [...new Set(lanes.map(plain))].sort().reverse();
  const layout = base(answer, { height: 46 + 26 * names.length, left: 96 });
  layout.barmode = "overlay";
  layout.hovermode = "closest";
  layout.yaxis = axis({ type: "category", categoryarray: names, showgrid: false });
  react(body, traces, layout);
  explain(body, kinds.map((kind) => ({ colour: colour(kind), name: kind })));
  const last = new Map(lanes.map((lane, i) => [lane, { name: lane, state: states[i], time: ends[i] }]));
  return [...last.values()];
}

function curvesOf(answer) {
  const [times, names, values] = ["time", "curve", "value"].map((name) =>
    answer.columns.find((column) => column.name === name).values);
  const found = new Map();
  names.forEach((name, i) => {
    if (!found.has(name)) found.set(name, { name: name || "all", times: [], values: [] });
    found.get(name).times.push(times[i]);
    found.get(name).values.push(values[i]);
  });
  return [...found.values()];
}

function trace({ name, times, values }, i, panel, stepMs, factor) {
  const x = [], y = [], text = [];
  times.forEach((time, n) => {
    if (n && time - times[n - 1] > HOLE * stepMs) {
      x.push(times[n - 1] + stepMs); // a hole in the data is a hole in the curve
      y.push(null);
      text.push("");
    }
    x.push(time);
    y.push(values[n] === null ? null : values[n] / factor);
    text.push(measure(values[n], panel.unit));
  });
  const colour = name === "other" ? OTHER : COLOURS[i % COLOURS.length];
  const stacked = panel.form === "stacked";
  return {
    type: "scatter", mode: x.length < 3 ? "lines+markers" : "lines", name: plain(name), x, y, text,
    line: { color: colour, width: stacked ? 1 : 1.6 }, marker: { size: 4 },
    ...(stacked ? { stackgroup: "all", fillcolor: `${colour}66` } : {}),
    hovertemplate: "%{text}",
  };
}

/** Tell whether a threshold is near enough to the curves to be drawn without flattening them. */
function near({ above, below }, largest) {
  return (above ?? below) <= 3 * largest;
}

function line({ level, above, below }, factor) {
  const y = (above ?? below) / factor;
  const color = style(level === "critical" ? "--critical" : "--warning");
  return { type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: { color, width: 1, dash: "dash" } };
}

function base(answer, { height = 190, left = 62 } = {}) {
  return {
    height, margin: { l: left, r: 10, t: 8, b: 24 }, showlegend: false, hovermode: "x unified",
    paper_bgcolor: "transparent", plot_bgcolor: "transparent", dragmode: false,
    font: { family: style("--font"), size: 11, color: style("--muted") },
    hoverlabel: { bgcolor: style("--card"), bordercolor: style("--line"), font: { color: style("--ink"), size: 11 } },
    xaxis: axis({ type: "date", range: [answer.from_ms, answer.to_ms], nticks: 6, tickformat: "%H:%M", hoverformat: "%b %d %H:%M:%S" }),
  };
}

function axis(more) {
  return { gridcolor: style("--line"), zeroline: false, fixedrange: true, linecolor: style("--line"), ...more };
}

function react(body, traces, layout) {
  body.chart ??= element("div", { class: "chart" });
  body.legend ??= element("ul", { class: "legend" });
  if (!body.chart.isConnected) body.replaceChildren(body.chart, body.legend);
  globalThis.Plotly.react(body.chart, traces, layout, { displayModeBar: false, responsive: true });
}

function explain(body, entries) {
  body.legend.replaceChildren(...entries.map(({ colour, name, value }) => {
    const swatch = element("span", { class: "swatch" });
    swatch.style.background = colour;
    return element("li", {}, swatch, name, value ? element("b", { text: value }) : null);
  }));
}

/** Return text that plotly.js shows as it is; it takes some tags for markup of its own. */
function plain(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
