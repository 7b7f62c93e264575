-- name: alert_history
-- what: How did alerts change, newest first?
-- parameters:
--   cluster String = "": the cluster; all without
--   rule String = "%": the alert's name, or a pattern with %
--   limit UInt32 = 100: rows at most
SELECT updated_at, cluster, rule_id, status, reason, severity, starts_at, ends_at, value, summary
FROM v_alerts
WHERE $__timeFilter_ms(updated_at)
  AND ({cluster:String} = '' OR cluster = {cluster:String})
  AND rule_id LIKE {rule:String}
ORDER BY updated_at DESC, cluster, rule_id, seq DESC
LIMIT {limit:UInt32}
