-- Who changed which cells of quarantined rows before they were loaded: a row per cell. An empty value means no value.
-- `location` and `row_number` are the place of the delivered row; for a stream, its partition and offset.
-- Columns as in: corrections, batches.
--   row_number (integer): Row of the delivered file, or offset.
SELECT
    c.corrected_at,
    c.corrected_by,
    b.source,
    b.dataset,
    b.location,
    c.row_number / COALESCE(r.numbers_per_row, 1) AS row_number,
    c.column_name,
    c.old_value,
    c.new_value,
    c.workbook,
    c.workbook_hash,
    c.quarantine_id,
    c.batch_id
FROM corrections AS c
INNER JOIN batches AS b ON b.batch_id = c.batch_id
LEFT JOIN reshapes AS r ON r.batch_id = c.batch_id
