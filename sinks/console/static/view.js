// What the reader looks at: page, cluster and range. All of it is in the address, so a view can be sent.

export const RANGES = { "15m": 5_000, "1h": 5_000, "6h": 30_000, "24h": 60_000 }; // refresh, ms
const RANGE_DEFAULT = "1h";

/** Return the view of the address. */
export function current() {
  const given = new URLSearchParams(location.search);
  const range = given.get("range");
  return {
    page: location.pathname.slice(1) || "apiserver",
    cluster: given.get("cluster") ?? "",
    range: Object.hasOwn(RANGES, range) ? range : RANGE_DEFAULT,
  };
}

/** Return the address of a view. */
export function address({ page, cluster, range }) {
  return `/${page}?${new URLSearchParams({ cluster, range })}`;
}

/** Go to a view that differs from the current one by `changes`. */
export function go(changes, { replace = false } = {}) {
  const next = address({ ...current(), ...changes });
  history[replace ? "replaceState" : "pushState"](null, "", next);
  dispatchEvent(new Event("view"));
}
