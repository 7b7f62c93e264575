-- name: indicator_highest
-- what: How high did an indicator go, at its highest series?
-- parameters:
--   cluster String: the cluster
--   metric String: the recorded name
--   by Array(String) = []: the labels that tell curves apart, in the order shown
--   curves UInt32 = 12: curves at most, the greatest; the others become one, `other`
-- For what must not be averaged: response times, ratios, queues. A step shows its highest point.
WITH
    series_points AS (
        SELECT $__timeInterval_ms(ts) AS step, series, max(value) AS reached,
            map('verb', any(verb), 'group', any(`group`), 'resource', any(resource),
                'subresource', any(subresource), 'scope', any(scope), 'code', any(code),
                'name', any(name), 'type', any(type), 'operation', any(operation),
                'flow_schema', any(flow_schema), 'priority_level', any(priority_level)) AS core,
            any(labels) AS others
        FROM v_indicators
        WHERE $__timeFilter_ms(ts)
          AND cluster = {cluster:String}
          AND metric = {metric:String}
          AND isFinite(value)
        GROUP BY step, series),
    curve_points AS (
        SELECT step, max(reached) AS height,
            arrayStringConcat(arrayFilter(shown -> shown != '', arrayMap(
            label -> if(mapContains(core, label), core[label], JSONExtractString(others, label)),
            {by:Array(String)})), ' ') AS shown,
            max(height) OVER (PARTITION BY shown) AS weight
        FROM series_points
        GROUP BY step, shown),
    ranked AS (
        SELECT *, dense_rank() OVER (ORDER BY weight DESC, shown) AS place FROM curve_points)
SELECT step AS time, if(place > {curves:UInt32}, 'other', shown) AS curve,
    max(height) AS value
FROM ranked
GROUP BY time, curve
ORDER BY min(min(place)) OVER (PARTITION BY curve), curve, time
