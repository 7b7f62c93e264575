-- name: indicator_newest
-- what: What is an indicator now, at its worst series?
-- parameters:
--   cluster String: the cluster
--   metric String: the recorded name
--   by Array(String) = []: the labels that name the worst series
--   worst Int8 = 1: 1 where the highest value is the worst, -1 where the lowest is
SELECT newest AS time, value, series_count,
    arrayStringConcat(arrayFilter(shown -> shown != '', arrayMap(label -> transform(label,
        ['verb', 'group', 'resource', 'subresource', 'scope', 'code', 'name', 'type', 'operation',
         'flow_schema', 'priority_level'],
        [verb, `group`, resource, subresource, scope, code, name, type, operation, flow_schema,
         priority_level],
        JSONExtractString(labels, label)), {by:Array(String)})), ' ') AS curve
FROM (
    SELECT *, max(ts) OVER () AS newest, count() OVER (PARTITION BY ts) AS series_count
    FROM v_indicators
    WHERE $__timeFilter_ms(ts)
      AND ts > $__toTime_ms - INTERVAL 5 MINUTE
      AND cluster = {cluster:String}
      AND metric = {metric:String})
WHERE ts = newest AND isFinite(value)
ORDER BY value * {worst:Int8} DESC, curve
LIMIT 1
