-- How the rows of each source ended, per source and run; a `balance` other than 0 means that something was lost.
SELECT
    b.source,
    b.dataset,
    b.run_id,
    b.cause,
    COUNT(*) AS batches,
    SUM(b.read_rows) AS read_rows,
    SUM(b.inserted) AS inserted,
    SUM(b.updated) AS updated,
    SUM(b.unchanged) AS unchanged,
    SUM(b.superseded) AS superseded,
    SUM(b.quarantined) AS quarantined,
    SUM(b.read_rows) - SUM(b.inserted + b.updated + b.unchanged + b.superseded + b.quarantined) AS balance,
    MIN(b.loaded_at) AS first_loaded_at,
    MAX(b.loaded_at) AS last_loaded_at
FROM batches AS b
GROUP BY b.source, b.dataset, b.run_id, b.cause
