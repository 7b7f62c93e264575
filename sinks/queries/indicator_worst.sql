-- name: indicator_worst
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
        arrayStringConcat(arrayFilter(shown -> shown != '', arrayMap(label -> transform(label,
            ['verb', 'group', 'resource', 'subresource', 'scope', 'code', 'name', 'type',
             'operation', 'flow_schema', 'priority_level'],
            [any(verb), any(`group`), any(resource), any(subresource), any(scope), any(code),
             any(name), any(type), any(operation), any(flow_schema), any(priority_level)],
            JSONExtractString(any(labels), label)), {by:Array(String)})), ' ') AS shown
        FROM v_indicators
        WHERE $__timeFilter_ms(ts)
          AND cluster = {cluster:String}
          AND metric = {metric:String}
          AND isFinite(value)
        GROUP BY step, series),
    curve_points AS (
        SELECT step, shown, max(reached) AS reached,
            max(reached) OVER (PARTITION BY shown) AS weight
        FROM series_points
        GROUP BY step, shown),
    ranked AS (
        SELECT *, dense_rank() OVER (ORDER BY weight DESC, shown) AS place FROM curve_points)
SELECT step AS time, if(place > {curves:UInt32}, 'other', shown) AS curve,
    max(reached) AS value
FROM ranked
GROUP BY time, curve
ORDER BY min(place), curve, time
