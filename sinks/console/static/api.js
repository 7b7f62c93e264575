// Ask the server. What it refuses becomes a Refusal that says what to do.

export class Refusal extends Error {
  constructor(error, remedy) {
    super(error);
    this.remedy = remedy;
  }
}

/** Return the JSON of an endpoint. */
export async function ask(path, parameters = {}, { signal } = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of [value].flat()) query.append(name, one);
  }
  let answer;
  try {
    answer = await fetch(`${path}?${query}`, { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The console does not answer.", "Is the sinks process running? This page keeps asking.");
  }
  if (answer.status === 401) location.assign("/login");
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refusal(body?.error ?? `HTTP ${answer.status}`, body?.remedy ?? "Look at the log of sinks.");
  return body;
}

/** Return the answer of a query as one object per row. */
export function rowsOf(answer) {
  return Array.from({ length: answer.rows }, (_, i) =>
    Object.fromEntries(answer.columns.map((column) => [column.name, column.values[i]])));
}

/** Run tasks, a few at a time. */
export async function inTurns(tasks, width) {
  const waiting = [...tasks];
  const work = async () => {
    while (waiting.length) await waiting.shift()();
  };
  await Promise.all(Array.from({ length: width }, work));
}
