-- name: scraped_clusters
-- what: Of which clusters are scrapes stored?
-- parameters:
SELECT DISTINCT cluster
FROM scrapes
WHERE $__timeFilter_ms(tick)
  AND outcome != 'silent'
ORDER BY cluster
