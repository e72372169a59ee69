-- The offset up to which each partition of a stream has been read, and how its messages ended. offsets = read_rows +
-- without_message (transaction markers, aborted and compacted messages) + gap_offsets (gone before they were read, and
-- accepted as gone); read_rows = inserted + updated + unchanged + superseded + quarantined. `balance` is the
-- difference, always 0. A partition whose topic was created again has a row per topic_id.
-- Columns as in: stream_positions, batches.
--   offsets (integer): Offsets that were passed.
--   without_message (integer): Offsets without a message: transaction markers, aborted and compacted messages.
--   gap_offsets (integer): Offsets that were gone before they were read, and accepted as gone.
--   balance (integer): Offsets that are not accounted for; always 0.
WITH counted AS (
    SELECT
        s.consumer_group,
        s.topic,
        s.topic_id,
        s.partition_number,
        CAST(SUM(b.read_rows) AS BIGINT) AS read_rows,
        CAST(SUM(b.inserted) AS BIGINT) AS inserted,
        CAST(SUM(b.updated) AS BIGINT) AS updated,
        CAST(SUM(b.unchanged) AS BIGINT) AS unchanged,
        CAST(SUM(b.superseded) AS BIGINT) AS superseded,
        CAST(SUM(b.quarantined) AS BIGINT) AS quarantined,
        CAST(SUM(b.last_row - b.first_row + 1 - b.read_rows) AS BIGINT) AS without_message
    FROM stream_batches AS s
    INNER JOIN batches AS b ON b.batch_id = s.batch_id
    WHERE b.cause = 'load'
    GROUP BY s.consumer_group, s.topic, s.topic_id, s.partition_number
),
gone AS (
    SELECT
        consumer_group,
        topic,
        topic_id,
        partition_number,
        CAST(SUM(until_offset - from_offset) AS BIGINT) AS gap_offsets
    FROM stream_gaps
    WHERE closed_at IS NOT NULL AND until_offset IS NOT NULL
    GROUP BY consumer_group, topic, topic_id, partition_number
)
SELECT
    p.consumer_group,
    p.topic,
    p.partition_number,
    p.topic_id,
    p.first_offset,
    p.next_offset,
    p.next_offset - p.first_offset AS offsets,
    COALESCE(c.read_rows, 0) AS read_rows,
    COALESCE(c.inserted, 0) AS inserted,
    COALESCE(c.updated, 0) AS updated,
    COALESCE(c.unchanged, 0) AS unchanged,
    COALESCE(c.superseded, 0) AS superseded,
    COALESCE(c.quarantined, 0) AS quarantined,
    COALESCE(c.without_message, 0) AS without_message,
    COALESCE(g.gap_offsets, 0) AS gap_offsets,
    p.next_offset - p.first_offset - COALESCE(g.gap_offsets, 0) - COALESCE(c.without_message, 0)
    - COALESCE(c.inserted + c.updated + c.unchanged + c.superseded + c.quarantined, 0) AS balance,
    p.moved_at
FROM stream_positions AS p
LEFT JOIN counted AS c
    ON
        c.consumer_group = p.consumer_group AND c.topic = p.topic AND c.topic_id = p.topic_id
        AND c.partition_number = p.partition_number
LEFT JOIN gone AS g
    ON
        g.consumer_group = p.consumer_group AND g.topic = p.topic AND g.topic_id = p.topic_id
        AND g.partition_number = p.partition_number
