-- name: alerts_now
-- what: Which alerts are open, with everything that helps to act?
-- parameters:
--   limit UInt32 = 200: rows at most
SELECT cluster, fingerprint, rule_id, status, reason, severity, starts_at, updated_at, summary,
    JSONExtractString(annotations, 'first_action') AS first_action,
    JSONExtractString(annotations, 'description') AS description,
    JSONExtractString(annotations, 'runbook_url') AS runbook, labels, value
FROM v_alerts_newest
WHERE status != 'resolved'
ORDER BY severity_number DESC, starts_at, cluster, rule_id
LIMIT {limit:UInt32}
