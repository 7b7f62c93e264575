-- name: dead_letters
-- what: Which records could nobody read, newest first, and why?
-- parameters:
--   limit UInt32 = 50: rows at most
SELECT ts, cluster, origin_topic, origin_partition, origin_offset, stage, error_class, error,
    length(value) AS bytes, left(toValidUTF8(value), 60) AS begins
FROM dead_letters
WHERE $__timeFilter_ms(ts)
ORDER BY ts DESC, origin_topic, origin_partition, origin_offset
LIMIT {limit:UInt32}
