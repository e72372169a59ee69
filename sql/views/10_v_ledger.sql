-- How the rows of each source ended, per source and run; a `balance` other than 0 means that something was lost.
-- Columns as in: batches.
--   batches (integer): Number of batches.
--   balance (integer): read_rows less its five outcomes; always 0.
--   first_loaded_at (instant): Commit of the first batch.
--   last_loaded_at (instant): Commit of the last batch.
SELECT
    b.source,
    b.dataset,
    b.run_id,
    b.cause,
    COUNT(*) AS batches,
    CAST(SUM(b.read_rows) AS BIGINT) AS read_rows,
    CAST(SUM(b.inserted) AS BIGINT) AS inserted,
    CAST(SUM(b.updated) AS BIGINT) AS updated,
    CAST(SUM(b.unchanged) AS BIGINT) AS unchanged,
    CAST(SUM(b.superseded) AS BIGINT) AS superseded,
    CAST(SUM(b.quarantined) AS BIGINT) AS quarantined,
    CAST(
        SUM(b.read_rows - b.inserted - b.updated - b.unchanged - b.superseded - b.quarantined) AS BIGINT
    ) AS balance,
    MIN(b.loaded_at) AS first_loaded_at,
    MAX(b.loaded_at) AS last_loaded_at
FROM batches AS b
GROUP BY b.source, b.dataset, b.run_id, b.cause
