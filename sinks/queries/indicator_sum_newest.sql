-- name: indicator_sum_newest
-- what: What is an indicator now, added up over its series?
-- parameters:
--   cluster String: the cluster
--   metric String: the recorded name
SELECT ts AS time, sum(i.value) AS value, '' AS curve
FROM v_indicators AS i
WHERE $__timeFilter_ms(ts)
  AND ts > $__toTime_ms - INTERVAL 5 MINUTE
  AND cluster = {cluster:String}
  AND metric = {metric:String}
  AND isFinite(i.value)
GROUP BY ts
ORDER BY ts DESC
LIMIT 1
