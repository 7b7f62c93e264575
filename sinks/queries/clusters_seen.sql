-- name: clusters_seen
-- what: Which clusters are watched, and how fresh is what we know of them?
-- parameters:
-- `newest_evaluation` is 1970 where no rule ran in the last 15 minutes.
SELECT cluster, max(scraped) AS newest_scrape, max(judged) AS newest_evaluation,
    sum(targets) AS targets, sum(failing) AS failing
FROM (
    SELECT cluster, max(newest) AS scraped, toDateTime64(0, 3, 'UTC') AS judged,
        count() AS targets, countIf(newest_outcome NOT IN ('ok', 'too_big')) AS failing
    FROM (
        SELECT cluster, job, instance, path, maxIf(tick, outcome NOT IN ('silent', 'removed'))
            AS newest, argMax(outcome, tick) AS newest_outcome
        FROM scrapes
        WHERE $__timeFilter_ms(tick)
        GROUP BY cluster, job, instance, path
        HAVING newest_outcome != 'removed')
    GROUP BY cluster
    UNION ALL
    SELECT cluster, toDateTime64(0, 3, 'UTC'), max(ts), 0, 0
    FROM indicators
    WHERE $__timeFilter_ms(ts)
      AND ts > $__toTime_ms - INTERVAL 15 MINUTE
    GROUP BY cluster)
WHERE cluster != '_planewatch'
GROUP BY cluster
ORDER BY cluster
