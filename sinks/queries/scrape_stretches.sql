-- name: scrape_stretches
-- what: Did the targets of a job answer, when not, and why not?
-- parameters:
--   cluster String: the cluster
--   job String: such as apiserver
-- One row for each stretch of time in which a target kept giving the same outcome. A stretch ends
-- three intervals after its last scrape, so that missing scrapes show as a hole.
SELECT instance AS lane, any(outcome) AS state, min(tick) AS begin,
    max(tick + toIntervalMillisecond(until_next_ms)) AS end, count() AS scrapes
FROM (
    SELECT *, sum(changed) OVER (PARTITION BY instance, path ORDER BY tick) AS stretch
    FROM (
        SELECT instance, path, tick, outcome,
            leadInFrame(tick, 1, tick + toIntervalMillisecond(interval_ms)) OVER next AS following,
            lagInFrame(outcome, 1, '') OVER next AS before,
            lagInFrame(tick, 1, tick) OVER next AS tick_before,
            (outcome != before) OR dateDiff('millisecond', tick_before, tick) > 3 * interval_ms
                AS changed,
            least(dateDiff('millisecond', tick, following), 3 * interval_ms) AS until_next_ms
        FROM scrapes
        WHERE $__timeFilter_ms(tick)
          AND cluster = {cluster:String}
          AND job = {job:String}
        WINDOW next AS (PARTITION BY instance, path ORDER BY tick
            ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)))
GROUP BY instance, path, stretch
ORDER BY lane, begin
