-- name: leader_stretches
-- what: Who led etcd, and when?
-- parameters:
--   cluster String: the cluster
-- From the raw scrapes: elections take 1 to 2 s, and indicators look every 15 s only. One row for
-- each stretch of time in which a member kept its role; a minute without scrapes is a hole.
SELECT instance AS lane, any(role) AS state, min(ts) AS begin,
    max(ts + toIntervalMillisecond(until_next_ms)) AS end, count() AS scrapes
FROM (
    SELECT *, sum(changed) OVER (PARTITION BY instance ORDER BY ts) AS stretch
    FROM (
        SELECT instance, ts, role,
            leadInFrame(ts, 1, ts) OVER next AS following,
            lagInFrame(role, 1, '') OVER next AS before,
            lagInFrame(ts, 1, ts) OVER next AS ts_before,
            (role != before) OR dateDiff('millisecond', ts_before, ts) > 60000 AS changed,
            least(dateDiff('millisecond', ts, following), 60000) AS until_next_ms
        FROM (
            SELECT instance, ts,
                multiIf(maxIf(value, metric = 'etcd_server_has_leader') = 0, 'no leader',
                    maxIf(value, metric = 'etcd_server_is_leader') = 1, 'leads', 'follows') AS role
            FROM samples
            WHERE $__timeFilter_ms(ts)
              AND cluster = {cluster:String}
              AND metric IN ('etcd_server_has_leader', 'etcd_server_is_leader')
            GROUP BY instance, ts)
        WINDOW next AS (PARTITION BY instance ORDER BY ts
            ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)))
GROUP BY instance, stretch
ORDER BY lane, begin
