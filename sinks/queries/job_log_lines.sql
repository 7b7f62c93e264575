-- name: job_log_lines
-- what: What did the processes of a job say, newest first?
-- parameters:
--   cluster String: the cluster
--   job String: such as etcd
--   limit UInt32 = 200: rows at most
SELECT ts AS time, level, instance, message,
    arrayStringConcat(arrayMap(pair -> concat(pair.1, '=', trim(BOTH '"' FROM pair.2)),
        arrayFilter(pair -> pair.1 != 'caller', JSONExtractKeysAndValuesRaw(fields))), '  ')
        AS details
FROM logs
WHERE $__timeFilter_ms(ts)
  AND cluster = {cluster:String}
  AND job = {job:String}
ORDER BY ts DESC, instance
LIMIT {limit:UInt32}
