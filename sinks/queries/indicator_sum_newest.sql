-- name: indicator_sum_newest
-- what: What is an indicator now, added up over its series?
-- parameters:
--   cluster String: the cluster
--   metric String: the recorded name
SELECT ts AS time, sum(value) AS value, count() AS series_count, '' AS curve
FROM v_indicators
WHERE $__timeFilter_ms(ts)
  AND ts > $__toTime_ms - INTERVAL 5 MINUTE
  AND cluster = {cluster:String}
  AND metric = {metric:String}
  AND isFinite(value)
GROUP BY ts
ORDER BY ts DESC
LIMIT 1
