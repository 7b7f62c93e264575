-- What targets exposed, raw, under current names (schemas/eras.py). Labels are inlined as
-- LowCardinality columns and lead the key: neighbouring rows are alike, which halves the value column
-- against a table of series ids (0.40 against 0.86 bytes a sample). The hour in the key lets a query
-- over an hour read that hour of a metric and not its day (12 times less). Large compress blocks
-- suit long runs; values change little between scrapes: Delta, ZSTD(1); ZSTD(3) gains nothing.
-- What readers ask for is in the indicators; these tables are for drilling down.

-- Counters, gauges and quantiles: whatever has no count.
CREATE TABLE IF NOT EXISTS samples
(
    cluster            LowCardinality(String),
    job                LowCardinality(String),
    instance           LowCardinality(String),
    path               LowCardinality(String),
    metric             LowCardinality(String),
    kind               LowCardinality(String),
    verb               LowCardinality(String),
    group              LowCardinality(String),
    resource           LowCardinality(String),
    subresource        LowCardinality(String),
    scope              LowCardinality(String),
    code               LowCardinality(String),
    name               LowCardinality(String),
    type               LowCardinality(String),
    operation          LowCardinality(String),
    flow_schema        LowCardinality(String),
    priority_level     LowCardinality(String),
    labels             LowCardinality(String),
    series             UInt64 CODEC(ZSTD(1)),
    ts                 DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    value              Float64 CODEC(Delta, ZSTD(1)),
    _p                 UInt32 CODEC(Delta, ZSTD(1)),
    _o                 UInt64 CODEC(DoubleDelta, ZSTD(1)),
    _day               Date CODEC(ZSTD(1)),
    PROJECTION positions (SELECT _p, max(_o), min(_o), count() GROUP BY _p)
)
ENGINE = MergeTree
PARTITION BY _day
-- The key answers: how did the series of a metric move?
ORDER BY (cluster, metric, toStartOfHour(ts), verb, resource, code, series, instance, ts)
TTL _day + INTERVAL {{samples_days}} DAY
SETTINGS min_compress_block_size = 1048576, max_compress_block_size = 4194304,
    ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1

-- next statement --

-- Histograms and summaries, whatever has a count: one row per metric per scrape. An array of 24
-- buckets takes 0.17 bytes a bucket, 24 rows take 0.72. Buckets are counts per bucket, not
-- cumulative, one more than `bounds` (comma-joined as Go prints) has; a summary has none. `value` is
-- the sum of the observations.
CREATE TABLE IF NOT EXISTS histograms
(
    cluster            LowCardinality(String),
    job                LowCardinality(String),
    instance           LowCardinality(String),
    path               LowCardinality(String),
    metric             LowCardinality(String),
    kind               LowCardinality(String),
    verb               LowCardinality(String),
    group              LowCardinality(String),
    resource           LowCardinality(String),
    subresource        LowCardinality(String),
    scope              LowCardinality(String),
    code               LowCardinality(String),
    name               LowCardinality(String),
    type               LowCardinality(String),
    operation          LowCardinality(String),
    flow_schema        LowCardinality(String),
    priority_level     LowCardinality(String),
    labels             LowCardinality(String),
    series             UInt64 CODEC(ZSTD(1)),
    ts                 DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    value              Float64 CODEC(Delta, ZSTD(1)),
    count              UInt64 CODEC(Delta, ZSTD(1)),
    buckets            Array(Int64) CODEC(Delta, ZSTD(1)),
    bounds             LowCardinality(String),
    _p                 UInt32 CODEC(Delta, ZSTD(1)),
    _o                 UInt64 CODEC(DoubleDelta, ZSTD(1)),
    _day               Date CODEC(ZSTD(1)),
    PROJECTION positions (SELECT _p, max(_o), min(_o), count() GROUP BY _p)
)
ENGINE = MergeTree
PARTITION BY _day
-- The key answers: how is a metric distributed?
ORDER BY (cluster, metric, toStartOfHour(ts), verb, resource, code, series, instance, ts)
TTL _day + INTERVAL {{samples_days}} DAY
SETTINGS min_compress_block_size = 1048576, max_compress_block_size = 4194304,
    ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1

-- next statement --

-- One row per attempt to scrape a target, failed or not: a gap is never silence.
CREATE TABLE IF NOT EXISTS scrapes
(
    cluster            LowCardinality(String),
    job                LowCardinality(String),
    instance           LowCardinality(String),
    path               LowCardinality(String),
    target_labels      LowCardinality(String),
    scrape_id          String CODEC(ZSTD(1)),
    tick               DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),  -- planned
    ts                 DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),  -- request sent: the time of the samples
    duration_ms        Int64 CODEC(T64, ZSTD(1)),
    interval_ms        Int64 CODEC(T64, ZSTD(1)),
    sequence           UInt64 CODEC(Delta, ZSTD(1)),
    outcome            LowCardinality(String),
    reason             String CODEC(ZSTD(1)),
    http_status        UInt16 CODEC(T64, ZSTD(1)),
    bytes              UInt64 CODEC(T64, ZSTD(1)),
    series             UInt64 CODEC(T64, ZSTD(1)),  -- lines of the exposition with a value
    rows               UInt64 CODEC(T64, ZSTD(1)),  -- in samples and histograms, over all chunks
    chunks             UInt32 CODEC(T64, ZSTD(1)),
    process_start      DateTime64(3, 'UTC') CODEC(ZSTD(1)),  -- 1970: unknown
    kubernetes_version LowCardinality(String),
    family_filter      LowCardinality(String),
    generation         LowCardinality(String),
    _p                 UInt32 CODEC(Delta, ZSTD(1)),
    _o                 UInt64 CODEC(DoubleDelta, ZSTD(1)),
    _day               Date CODEC(ZSTD(1)),
    PROJECTION positions (SELECT _p, max(_o), min(_o), count() GROUP BY _p)
)
ENGINE = MergeTree
PARTITION BY _day
-- The key answers: which scrapes of a target failed, and how?
ORDER BY (cluster, job, instance, path, tick)
TTL _day + INTERVAL {{scrapes_days}} DAY
SETTINGS min_compress_block_size = 1048576, max_compress_block_size = 4194304,
    ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
