-- What was read from Kafka, and from where. Every row of every table carries the coordinates of its
-- record: _p = source * 65536 + partition, _o = offset. They cost 0.01 bytes a row and make storing
-- exactly once possible without a second system: what is stored is written in the data itself.
-- Every table is partitioned by _day, the day of insertion, which is computed once per flush, so
-- that an insert is one part: all or nothing. Whole parts expire (ttl_only_drop_parts).
-- The projection answers max(_o) by _p from a few rows and is part of the part, so it cannot lie.

CREATE TABLE IF NOT EXISTS sources
(
    source       UInt16,                  -- the number that _p carries
    kafka        String,                  -- id of the Kafka cluster, or incarnation of an embedded broker
    topic        LowCardinality(String),
    topic_id     String,                  -- a topic that is made again under its name has another id
    claim        String,                  -- who claimed the number; of two, the first claim counts
    claimed_at   DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY source
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1

-- next statement --

-- One row per Kafka record, written last: max(_o) + 1 is where reading goes on, and the row counts
-- let `verify` compare. outcome: stored, tombstone, undecodable, or gap (`missing` records up to
-- _o had left Kafka before they were read).
CREATE TABLE IF NOT EXISTS records
(
    topic        LowCardinality(String),
    cluster      LowCardinality(String),
    outcome      LowCardinality(String),
    error        String CODEC(ZSTD(1)),
    missing      UInt64 CODEC(T64, ZSTD(1)),
    bytes        UInt32 CODEC(T64, ZSTD(1)),
    samples      UInt32 CODEC(T64, ZSTD(1)),   -- rows of this record, by table
    histograms   UInt32 CODEC(T64, ZSTD(1)),
    scrapes      UInt32 CODEC(T64, ZSTD(1)),
    changes      UInt32 CODEC(T64, ZSTD(1)),
    logs         UInt32 CODEC(T64, ZSTD(1)),
    indicators   UInt32 CODEC(T64, ZSTD(1)),
    alerts       UInt32 CODEC(T64, ZSTD(1)),
    dead_letters UInt32 CODEC(T64, ZSTD(1)),
    ts           DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),  -- Kafka's time of the record
    stored       DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),  -- wall clock of the flush
    _p           UInt32 CODEC(Delta, ZSTD(1)),
    _o           UInt64 CODEC(DoubleDelta, ZSTD(1)),
    _day         Date CODEC(ZSTD(1)),
    PROJECTION positions (SELECT _p, max(_o), min(_o), count() GROUP BY _p)
)
ENGINE = MergeTree
PARTITION BY _day
-- The key answers: is every offset of a partition there, once?
ORDER BY (_p, _o)
TTL _day + INTERVAL {{records_days}} DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
