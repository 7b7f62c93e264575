-- name: stored
-- what: How much of each topic is stored, how fresh is it, and what is missing?
-- parameters:
SELECT s.topic AS topic, countIf(outcome != 'gap') AS records, sum(missing) AS missing,
    countIf(outcome = 'undecodable') AS undecodable, formatReadableSize(sum(bytes)) AS read,
    sum(samples + histograms + scrapes + changes + logs + indicators + alerts + dead_letters) AS rows,
    max(r.ts) AS newest, round(avg(toUnixTimestamp64Milli(stored) - toUnixTimestamp64Milli(r.ts))) AS wait_ms
FROM records AS r
INNER JOIN sources AS s ON s.source = intDiv(r._p, 65536)
WHERE $__timeFilter_ms(stored)
GROUP BY topic
ORDER BY topic
