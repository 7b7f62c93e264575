-- What happened: changes of watched objects, log lines, records that nobody could read. Text is read
-- rarely and compressed once: ZSTD(3).

CREATE TABLE IF NOT EXISTS changes
(
    cluster            LowCardinality(String),
    api_version        LowCardinality(String),
    kind               LowCardinality(String),
    namespace          LowCardinality(String),
    name               String CODEC(ZSTD(1)),
    uid                String CODEC(ZSTD(1)),
    resource_version   String CODEC(ZSTD(1)),
    op                 LowCardinality(String),
    ts                 DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),  -- received
    owner_kind         LowCardinality(String),
    owner_name         String CODEC(ZSTD(1)),
    owner_uid          String CODEC(ZSTD(1)),
    diff               String CODEC(ZSTD(3)),  -- JSON: [{path, old, new}]
    rollout            String CODEC(ZSTD(3)),  -- JSON, or empty
    object             String CODEC(ZSTD(3)),  -- JSON, trimmed
    _p                 UInt32 CODEC(Delta, ZSTD(1)),
    _o                 UInt64 CODEC(DoubleDelta, ZSTD(1)),
    _day               Date CODEC(ZSTD(1)),
    PROJECTION positions (SELECT _p, max(_o), min(_o), count() GROUP BY _p)
)
ENGINE = MergeTree
PARTITION BY _day
-- The key answers: what happened to an object?
ORDER BY (cluster, kind, namespace, name, ts)
TTL _day + INTERVAL {{changes_days}} DAY
SETTINGS min_compress_block_size = 1048576, max_compress_block_size = 4194304,
    ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1

-- next statement --

CREATE TABLE IF NOT EXISTS logs
(
    cluster            LowCardinality(String),
    job                LowCardinality(String),
    instance           LowCardinality(String),
    ts                 DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    level              LowCardinality(String),
    template           LowCardinality(String),
    message            String CODEC(ZSTD(3)),
    fields             String CODEC(ZSTD(3)),  -- JSON
    raw                String CODEC(ZSTD(3)),
    _p                 UInt32 CODEC(Delta, ZSTD(1)),
    _o                 UInt64 CODEC(DoubleDelta, ZSTD(1)),
    _day               Date CODEC(ZSTD(1)),
    PROJECTION positions (SELECT _p, max(_o), min(_o), count() GROUP BY _p)
)
ENGINE = MergeTree
PARTITION BY _day
-- The key answers: what did a process say at that time?
ORDER BY (cluster, job, instance, ts)
TTL _day + INTERVAL {{logs_days}} DAY
SETTINGS min_compress_block_size = 1048576, max_compress_block_size = 4194304,
    ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1

-- next statement --

CREATE TABLE IF NOT EXISTS dead_letters
(
    cluster            LowCardinality(String),
    ts                 DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),  -- when it was written to dead-letters
    origin_topic       LowCardinality(String),
    origin_partition   Int32,
    origin_offset      Int64,
    stage              LowCardinality(String),
    error_class        LowCardinality(String),
    error              String CODEC(ZSTD(1)),
    key                String CODEC(ZSTD(1)),
    value              String CODEC(ZSTD(3)),  -- the original bytes
    _p                 UInt32 CODEC(Delta, ZSTD(1)),
    _o                 UInt64 CODEC(DoubleDelta, ZSTD(1)),
    _day               Date CODEC(ZSTD(1)),
    PROJECTION positions (SELECT _p, max(_o), min(_o), count() GROUP BY _p)
)
ENGINE = MergeTree
PARTITION BY _day
-- The key answers: what could not be read, and why?
ORDER BY (origin_topic, origin_partition, origin_offset)
TTL _day + INTERVAL {{dead_letters_days}} DAY
SETTINGS min_compress_block_size = 1048576, max_compress_block_size = 4194304,
    ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
