-- name: metrics
-- what: Which metrics have the most series, and how many rows did they take?
-- parameters:
--   cluster String = "": the cluster; all without
--   limit UInt32 = 30: rows at most
SELECT cluster, metric, any(kind) AS kind, uniqExact(series, instance) AS series, count() AS rows
FROM (SELECT cluster, metric, kind, series, instance FROM samples WHERE $__timeFilter_ms(ts)
      UNION ALL
      SELECT cluster, metric, kind, series, instance FROM histograms WHERE $__timeFilter_ms(ts))
WHERE ({cluster:String} = '' OR cluster = {cluster:String})
GROUP BY cluster, metric
ORDER BY series DESC, cluster, metric
LIMIT {limit:UInt32}
