-- Every transaction with its station and the load that brought its current version. `transaction_at` is UTC,
-- `transaction_date` the local day. Station columns are empty if the site is UNKNOWN or not a station, lineage columns
-- if the lineage was purged.
-- Columns as in: fact_transactions, batches, v_station_of_site.
--   critical_alert (integer): 1 for status WARN or ERR and a volume below 20 tonnes; 0 without a volume.
--   station_name (text): Name of the station; empty if the site is not one.
--   corridor_km (number, km): Distance of the station from Douala along the line.
SELECT
    t.transaction_id,
    t.machine_id,
    t.transaction_at,
    t.transaction_date,
    t.day_number,
    t.volume_transferred_t,
    t.status_code,
    CASE WHEN t.critical_alert THEN 1 ELSE 0 END AS critical_alert,
    t.site_location,
    t.installation_year,
    s.station_code,
    CASE WHEN s.station_code IS NOT NULL THEN t.site_location END AS station_name,
    s.region,
    s.corridor_km,
    b.source,
    b.location,
    b.run_id,
    t.batch_id,
    b.loaded_at
FROM fact_transactions AS t
LEFT JOIN v_station_of_site AS s ON s.site_location = t.site_location
LEFT JOIN batches AS b ON b.batch_id = t.batch_id
