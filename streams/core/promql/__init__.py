"""PromQL on a stream. In: expressions, and the scrapes of one cluster in tick order. Out: vectors.

`selectors` and `labels` are the vocabulary. `columns`, `layout`, `series` and `views` find what
rules select in each scrape; `accumulators`, `banks`, `history` and `counters` sum the growth of
counters, `ring` keeps samples; `target` is all of one endpoint. `plan` turns an expression into
nodes, `calls` those of functions, aggregations and operators; `leaves` and `ranges` are the nodes
that read targets, `aggregations`, `operators`, `matching`, `functions` and the like those above.
A new function or operator is one small class or function and one line in a table.
"""
