-- name: scrape_streaks
-- what: Which attempts of the targets of a cluster follow each other, and where do numbers break?
-- parameters:
--   cluster String: the cluster
-- A process makes numbers in the order of its ticks, so it is in that order that they must follow
-- each other; late ones stand where they belong. Attempts that are equal in everything are one that
-- was delivered again. Records of `silent` are written by streams and have no number of theirs.
-- Arrays, not windows: 2 million attempts take 3 s, and more than the 20 s that a query may.
SELECT job, instance, path, generation,
    streak[1].2 AS first, streak[-1].2 AS last,
    streak[1].1 AS first_tick, streak[-1].1 AS last_tick,
    streak[-1].3 AS removes,
    length(streak) - (last - first + 1) AS repeats,
    bitAnd(streak[1].5, 65535) AS partition,
    streak[1].6 AS first_offset, streak[-1].6 AS last_offset
FROM (
    SELECT job, instance, path, generation,
        arraySort(groupArray((tick, sequence, outcome = 'removed', said, _p, _o))) AS found,
        arrayPushFront(arrayPopBack(found), found[1]) AS before,
        arrayMap((one, last) -> one.2 != last.2 + 1
            AND (one.1, one.2, one.4) != (last.1, last.2, last.4), found, before) AS breaks
    FROM (
        SELECT job, instance, path, generation, tick, sequence, outcome, _p, _o,
            cityHash64(scrape_id, outcome, ts, duration_ms, reason, http_status, bytes, series,
                rows, chunks) AS said
        FROM scrapes
        WHERE $__timeFilter_ms(tick)
          AND cluster = {cluster:String}
          AND outcome != 'silent')
    GROUP BY job, instance, path, generation)
ARRAY JOIN arraySplit((one, breaks) -> breaks, found, breaks) AS streak
ORDER BY job, instance, path, first_tick, first
