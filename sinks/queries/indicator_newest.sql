-- name: indicator_newest
-- what: What is an indicator now, at its worst series?
-- parameters:
--   cluster String: the cluster
--   metric String: the recorded name
--   by Array(String) = []: the labels that name the worst series
--   worst Int8 = 1: 1 where the highest value is the worst, -1 where the lowest is
WITH
    map('verb', verb, 'group', `group`, 'resource', resource, 'subresource', subresource,
        'scope', scope, 'code', code, 'name', name, 'type', type, 'operation', operation,
        'flow_schema', flow_schema, 'priority_level', priority_level) AS core
SELECT ts AS time, value,
    arrayStringConcat(arrayFilter(shown -> shown != '', arrayMap(
        label -> if(mapContains(core, label), core[label], JSONExtractString(labels, label)),
        {by:Array(String)})), ' ') AS curve
FROM v_indicators
WHERE $__timeFilter_ms(ts)
  AND ts > $__toTime_ms - INTERVAL 5 MINUTE
  AND cluster = {cluster:String}
  AND metric = {metric:String}
  AND isFinite(value)
ORDER BY ts DESC, value * {worst:Int8} DESC, curve
LIMIT 1
