-- name: open_alerts
-- what: Which alerts fire now? (unknown: the data that would tell is missing)
-- parameters:
--   cluster String = "": the cluster; all without
SELECT severity, status, starts_at, cluster, rule_id, summary
FROM v_alerts_newest
WHERE status != 'resolved'
  AND ({cluster:String} = '' OR cluster = {cluster:String})
ORDER BY severity_number DESC, starts_at, cluster, rule_id
