-- What streams concluded. They may send a result again after a restart, so both tables keep one row per
-- identity and are read through the views below, whose FINAL drops repeats that no merge has met yet
-- (27 -> 65 ms for an hour of indicators).

-- Identity: (cluster, rule_group, ts, series). The labels before it in the key are functions of the
-- series and keep like rows together.
CREATE TABLE IF NOT EXISTS indicators
(
    cluster            LowCardinality(String),
    rule_group         LowCardinality(String),
    metric             LowCardinality(String),
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
    ts                 DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),  -- evaluation time
    interval_ms        Int64 CODEC(T64, ZSTD(1)),
    value              Float64 CODEC(Delta, ZSTD(1)),
    coverage           Float32 CODEC(ZSTD(1)),
    rules_hash         LowCardinality(String),
    epoch              UInt64 CODEC(T64, ZSTD(1)),
    _p                 UInt32 CODEC(Delta, ZSTD(1)),
    _o                 UInt64 CODEC(DoubleDelta, ZSTD(1)),
    _day               Date CODEC(ZSTD(1)),
    PROJECTION positions (SELECT _p, max(_o), min(_o), count() GROUP BY _p)
)
ENGINE = ReplacingMergeTree(epoch)
PARTITION BY _day
-- The key answers: how did an indicator move?
ORDER BY (cluster, metric, toStartOfHour(ts), verb, resource, code, series, rule_group, ts)
TTL _day + INTERVAL {{indicators_days}} DAY
SETTINGS min_compress_block_size = 1048576, max_compress_block_size = 4194304,
    ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1,
    deduplicate_merge_projection_mode = 'rebuild'

-- next statement --

-- Identity: (cluster, fingerprint, epoch, seq). `record` is the whole alert as published.
CREATE TABLE IF NOT EXISTS alerts
(
    cluster            LowCardinality(String),
    fingerprint        String CODEC(ZSTD(1)),
    epoch              UInt64 CODEC(T64, ZSTD(1)),
    seq                Int64 CODEC(T64, ZSTD(1)),
    event_id           String CODEC(ZSTD(1)),
    rule_id            LowCardinality(String),
    rule_version       LowCardinality(String),
    status             LowCardinality(String),
    reason             LowCardinality(String),
    severity           LowCardinality(String),
    severity_number    UInt8,
    labels             String CODEC(ZSTD(1)),
    annotations        String CODEC(ZSTD(3)),
    summary            String CODEC(ZSTD(1)),
    value              Nullable(Float64),  -- of the indicator that it judges
    active_at          DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    starts_at          DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    ends_at            Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),  -- null while it fires
    updated_at         DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    watermark          DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    coverage           Float32 CODEC(ZSTD(1)),
    emitted_at         Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),  -- wall clock, from the header
    record             String CODEC(ZSTD(3)),
    _p                 UInt32 CODEC(Delta, ZSTD(1)),
    _o                 UInt64 CODEC(DoubleDelta, ZSTD(1)),
    _day               Date CODEC(ZSTD(1)),
    PROJECTION positions (SELECT _p, max(_o), min(_o), count() GROUP BY _p)
)
ENGINE = ReplacingMergeTree
PARTITION BY _day
-- The key answers: what became of an alert?
ORDER BY (cluster, fingerprint, epoch, seq)
TTL _day + INTERVAL {{alerts_days}} DAY
SETTINGS min_compress_block_size = 1048576, max_compress_block_size = 4194304,
    ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1,
    deduplicate_merge_projection_mode = 'rebuild'

-- next statement --

CREATE VIEW IF NOT EXISTS v_indicators AS SELECT * FROM indicators FINAL

-- next statement --

CREATE VIEW IF NOT EXISTS v_alerts AS SELECT * FROM alerts FINAL

-- next statement --

-- The newest state of each alert.
CREATE VIEW IF NOT EXISTS v_alerts_newest AS
SELECT * FROM alerts FINAL
ORDER BY epoch DESC, seq DESC
LIMIT 1 BY cluster, fingerprint
