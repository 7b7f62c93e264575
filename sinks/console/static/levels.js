// Judge values by the thresholds of their panel.

const ORDER = ["good", "warning", "critical"];

/** Return the level of a value: good, warning or critical. */
export function levelOf(value, thresholds) {
  const reached = thresholds.filter(({ above, below }) =>
    (above !== null && value > above) || (below !== null && value < below));
  return worst(reached.map(({ level }) => level));
}

/** Return the worst of some levels. */
export function worst(levels) {
  return ORDER[Math.max(0, ...levels.map((level) => ORDER.indexOf(level)))];
}
