-- Who changed what in rows that were in quarantine, before they were loaded: a line for each cell. An empty value is no
-- value. `location` and `row_number` tell where the row was delivered, of a stream its partition and offset.
SELECT
    c.corrected_at,
    c.corrected_by,
    b.source,
    b.dataset,
    b.location,
    c.row_number,
    c.column_name,
    c.old_value,
    c.new_value,
    c.workbook,
    c.workbook_hash,
    c.quarantine_id,
    c.batch_id
FROM corrections AS c
INNER JOIN batches AS b ON b.batch_id = c.batch_id
