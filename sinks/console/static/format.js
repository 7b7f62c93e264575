// Write numbers with units, and times. Times are epoch ms and shown in UTC, as everywhere in planewatch.

const KIB = 1024;

const SCALES = {
  seconds: [[1e-6, "µs"], [1e-3, "ms"], [1, "s"], [60, "min"]],
  bytes: [[1, "B"], [KIB, "KiB"], [KIB ** 2, "MiB"], [KIB ** 3, "GiB"], [KIB ** 4, "TiB"]],
  ratio: [[0.01, "%"]],
  "requests/s": [[1, "req/s"], [1e3, "k req/s"]],
  "proposals/s": [[1, "/s"], [1e3, "k/s"]],
  cores: [[1, "cores"]],
  requests: [[1, ""], [1e3, "k"]],
  members: [[1, ""]],
};

/** Return {factor, suffix}: divide values by `factor` and they read well beside `largest`. */
export function scale(unit, largest) {
  const steps = SCALES[unit] ?? [[1, ""]];
  const fitting = steps.filter(([factor]) => Math.abs(largest) >= factor * (factor === 60 ? 3 : 1));
  const [factor, suffix] = fitting.at(-1) ?? steps[0];
  return { factor, suffix };
}

/** Return a value as people read it: [number, unit]. */
export function parts(value, unit) {
  if (value === null || value === undefined) return ["–", ""];
  if (unit === "yes/no") return [value >= 1 ? "yes" : "no", ""];
  const { factor, suffix } = scale(unit, value);
  return [digits(value / factor), suffix];
}

/** Return a value with its unit. */
export function measure(value, unit) {
  return parts(value, unit).filter(Boolean).join("\u202f");
}

/** Return three significant digits without an exponent. */
function digits(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString("en");
  return String(Number(value.toFixed(size >= 10 ? 1 : size >= 0.1 ? 2 : 3)));
}

/** Return how long ago, in one or two words. */
export function ago(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}

/** Return texts as sentences in a row. */
export function sentences(...texts) {
  return texts.filter(Boolean).map((text) => (/[.?!]$/.test(text) ? text : `${text}.`)).join(" ");
}

/** Return a time of day in UTC. */
export function clock(ms) {
  return new Date(ms).toISOString().slice(11, 19);
}

/** Return a day and a time of day in UTC. */
export function moment(ms) {
  return new Date(ms).toISOString().slice(0, 19).replace("T", " ");
}
