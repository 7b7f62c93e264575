"""PromQL on the stream: expressions become plans of columnar nodes over the series of one cluster.

`selectors` and `labels` are the vocabulary, `columns`, `layout`, `series`, `history` and `target`
keep what rules select of each scrape, `plan` turns an expression into nodes, and `leaves`,
`aggregations`, `operators`, `matching`, `functions` and `quantile` are the nodes. A new function or
operator is one small class or function and one line in a table.
"""
