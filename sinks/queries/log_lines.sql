-- name: log_lines
-- what: What did the processes say, newest first?
-- parameters:
--   cluster String = "": the cluster; all without
--   text String = "": a part of the message
--   limit UInt32 = 100: rows at most
SELECT ts, cluster, job, instance, level, message, fields
FROM logs
WHERE $__timeFilter_ms(ts)
  AND ({cluster:String} = '' OR cluster = {cluster:String})
  AND position(message, {text:String}) > 0
ORDER BY ts DESC, cluster, instance
LIMIT {limit:UInt32}
