-- name: failed_scrapes
-- what: Which scrapes did not answer, newest first, and why?
-- parameters:
--   cluster String = "": the cluster; all without
--   limit UInt32 = 50: rows at most
SELECT tick, cluster, job, instance, path, outcome, http_status, duration_ms, reason
FROM scrapes
WHERE $__timeFilter_ms(tick)
  AND outcome != 'ok'
  AND ({cluster:String} = '' OR cluster = {cluster:String})
ORDER BY tick DESC, cluster, job, instance
LIMIT {limit:UInt32}
