-- name: indicators
-- what: What is the newest value of each indicator?
-- parameters:
--   cluster String = "": the cluster; all without
--   name String = "%": the recorded name, or a pattern with %
SELECT cluster, metric,
    arrayStringConcat(arrayFilter(x -> x != '', [verb, `group`, resource, subresource, scope, code,
        name, type, operation, flow_schema, priority_level, labels]), ' ') AS labels_shown,
    max(ts) AS newest, argMax(value, ts) AS value, argMax(coverage, ts) AS coverage
FROM v_indicators
WHERE $__timeFilter_ms(ts)
  AND ({cluster:String} = '' OR cluster = {cluster:String})
  AND metric LIKE {name:String}
GROUP BY cluster, metric, labels_shown
ORDER BY cluster, metric, labels_shown
