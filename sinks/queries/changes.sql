-- name: changes
-- what: Which watched objects changed, newest first?
-- parameters:
--   cluster String = "": the cluster; all without
--   kind String = "%": such as Lease, or a pattern with %
--   limit UInt32 = 100: rows at most
SELECT ts, cluster, kind, namespace, name, op, diff
FROM changes
WHERE $__timeFilter_ms(ts)
  AND ({cluster:String} = '' OR cluster = {cluster:String})
  AND kind LIKE {kind:String}
ORDER BY ts DESC, cluster, kind, namespace, name
LIMIT {limit:UInt32}
