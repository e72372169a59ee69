-- Every terminal event with the site of its machine at the time; UNKNOWN if that is not known. `event_at` is UTC;
-- `is_late` is 1 for an event more than an hour older than the newest of its partition. Lineage columns describe the
-- message that brought it.
-- Columns as in: fact_terminal_events, batches.
--   is_late (integer): 1 for an event more than an hour older than the newest of its partition on arrival.
--   site_location (text): Site of the machine at the time; UNKNOWN if that is not known.
--   machine_type (text): Kind of machine at the time.
--   message_offset (integer): Offset of the message in its partition.
SELECT
    e.event_id,
    e.machine_id,
    e.event_at,
    e.event_type,
    e.volume_transferred_t,
    e.status_code,
    e.flow_rate_t_per_h,
    e.pressure_bar,
    e.vibration_mm_s,
    e.temperature_deg_c,
    CASE WHEN e.is_late THEN 1 ELSE 0 END AS is_late,
    COALESCE(m.site_location, 'UNKNOWN') AS site_location,
    m.machine_type,
    b.source,
    b.location,
    e.origin_seq AS message_offset,
    e.batch_id,
    b.loaded_at
FROM fact_terminal_events AS e
LEFT JOIN dim_machines AS m
    ON
        m.machine_id = e.machine_id AND e.event_at >= m.valid_from
        AND (m.valid_to IS NULL OR e.event_at < m.valid_to)
LEFT JOIN batches AS b ON b.batch_id = e.batch_id
