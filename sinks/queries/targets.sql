-- name: targets
-- what: What does each target look like, by its newest scrape?
-- parameters:
--   cluster String = "": the cluster; all without
SELECT cluster, job, instance, path,
    max(s.tick) AS newest,
    argMax(s.outcome, s.tick) AS outcome,
    argMax(s.kubernetes_version, s.tick) AS version,
    argMax(s.series, s.tick) AS series,
    quantileExact(0.5)(s.duration_ms) AS duration_ms_p50,
    count() AS scrapes,
    countIf(s.outcome != 'ok') AS failed
FROM scrapes AS s
WHERE $__timeFilter_ms(s.tick)
  AND ({cluster:String} = '' OR cluster = {cluster:String})
GROUP BY cluster, job, instance, path
ORDER BY cluster, job, instance, path
