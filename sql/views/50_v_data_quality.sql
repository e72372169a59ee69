-- How the deliveries of each source ended, since the first load, purged lineage included.
-- read_rows = inserted + updated + unchanged + superseded + quarantined; `balance` is the difference, always 0.
-- Replays of quarantined rows are not counted again; waiting_rows are the quarantined rows that no replay has accepted.
-- A failed attempt is a file that loaded nothing. newest_as_of is the instant that the newest content stands for, and
-- hours_behind its distance from the freshest source; reference data is naturally far behind.
-- Columns as in: batches.
--   files (integer): Number of loaded files or other deliveries.
--   balance (integer): read_rows less its five outcomes; always 0.
--   quarantined_share (number, share): quarantined / read_rows.
--   waiting_rows (integer): Quarantined rows that no replay or import has loaded.
--   last_loaded_at (instant): Last load.
--   newest_as_of (instant): Instant that the newest content stands for.
--   hours_behind (number, hours): Distance of the newest content from that of the freshest source.
--   failed_attempts (integer): Files that loaded nothing.
--   last_failed_at (instant): Last failure.
--   last_fault (text): Code of the last fault.
--   last_message (text): Last fault in words.
--   simulated (integer): 1 if the simulator made the data.
WITH counted AS (
    SELECT source, dataset, read_rows, inserted, updated, unchanged, superseded, quarantined
    FROM batches
    WHERE cause = 'load'
    UNION ALL
    SELECT source, dataset, read_rows, inserted, updated, unchanged, superseded, quarantined
    FROM purges
    WHERE cause = 'load' AND table_name = 'batches'
    UNION ALL
    SELECT source, dataset, 0, 0, 0, 0, 0, 0
    FROM load_attempts
),
totals AS (
    SELECT
        source,
        dataset,
        CAST(SUM(read_rows) AS BIGINT) AS read_rows,
        CAST(SUM(inserted) AS BIGINT) AS inserted,
        CAST(SUM(updated) AS BIGINT) AS updated,
        CAST(SUM(unchanged) AS BIGINT) AS unchanged,
        CAST(SUM(superseded) AS BIGINT) AS superseded,
        CAST(SUM(quarantined) AS BIGINT) AS quarantined
    FROM counted
    GROUP BY source, dataset
),
loads AS (
    SELECT
        source,
        dataset,
        COUNT(*) AS files,
        MAX(as_of) AS newest_as_of,
        MAX(loaded_at) AS last_loaded_at,
        MAX(CASE WHEN simulated THEN 1 ELSE 0 END) AS simulated
    FROM batches
    WHERE cause = 'load'
    GROUP BY source, dataset
),
waiting AS (
    SELECT source, dataset, COUNT(*) AS waiting_rows
    FROM quarantine
    WHERE replayed_batch_id IS NULL
    GROUP BY source, dataset
),
failures AS (
    SELECT source, dataset, COUNT(*) AS failed_attempts, MAX(attempted_at) AS last_failed_at, MAX(attempt_id) AS newest_id
    FROM load_attempts
    GROUP BY source, dataset
),
positions AS (
    SELECT source, MAX(origin_us) AS origin_us
    FROM file_positions
    GROUP BY source
)
SELECT
    t.source,
    t.dataset,
    COALESCE(l.files, 0) AS files,
    t.read_rows,
    t.inserted,
    t.updated,
    t.unchanged,
    t.superseded,
    t.quarantined,
    t.read_rows - (t.inserted + t.updated + t.unchanged + t.superseded + t.quarantined) AS balance,
    CAST(t.quarantined AS DOUBLE PRECISION) / NULLIF(t.read_rows, 0) AS quarantined_share,
    COALESCE(w.waiting_rows, 0) AS waiting_rows,
    l.last_loaded_at,
    l.newest_as_of,
    CAST((SELECT MAX(origin_us) FROM positions) - p.origin_us AS DOUBLE PRECISION) / 3600000000 AS hours_behind,
    COALESCE(f.failed_attempts, 0) AS failed_attempts,
    f.last_failed_at,
    a.fault AS last_fault,
    a.message AS last_message,
    l.simulated
FROM totals AS t
LEFT JOIN loads AS l ON l.source = t.source AND l.dataset = t.dataset
LEFT JOIN waiting AS w ON w.source = t.source AND w.dataset = t.dataset
LEFT JOIN failures AS f ON f.source = t.source AND f.dataset = t.dataset
LEFT JOIN load_attempts AS a ON a.attempt_id = f.newest_id
LEFT JOIN positions AS p ON p.source = t.source
