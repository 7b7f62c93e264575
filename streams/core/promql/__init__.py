"""PromQL on the stream: expressions become plans of columnar nodes over the series of one cluster.

`selectors` and `labels` are the vocabulary; `columns`, `layout`, `series`, `views`, `history`,
`counters` and `target` keep what rules select of each scrape; `plan` turns an expression into
nodes, `calls` those of functions, aggregations and operators; `leaves`, `aggregations`, `operators`,
`matching`, `functions` and `quantile` are the nodes.
A new function or operator is one small class or function and one line in a table.

Everything follows Prometheus 3, except on purpose:
- `rate` and `increase` do not extrapolate: a counter is linear between two scrapes, a window ends
  at its target's newest sample while that is fresh, `rate` divides by the whole window, and every
  window has a value, also one that is as short as the interval.
- A series that appears on a watched target counts from zero; one that returns counts on.
- A histogram resets as one row, and all rows do when their process restarts.
- `le` is a number in matchers; a job answers to its aliases; names of older Kubernetes releases are
  read under the current ones.
- A skipped tick leaves instant values in place while they are fresh.
- Results carry `cluster`; values without a number are not published.
"""
