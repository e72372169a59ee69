-- Every machine in its current state. `valid_from` is the instant since which it has this site, year and type
-- (1900-01-01: always, as far as known); `is_absent` is 1 if the newest machines file no longer lists it.
-- Columns as in: dim_machines, v_station_of_site.
--   site_location (text): Site of the machine; UNKNOWN if none is known.
--   is_absent (integer): 1 if the newest machines file no longer lists it.
SELECT
    m.machine_id,
    m.machine_type,
    m.installation_year,
    m.site_location,
    s.station_code,
    s.region,
    s.corridor_km,
    CASE WHEN m.is_absent THEN 1 ELSE 0 END AS is_absent,
    m.valid_from
FROM dim_machines AS m
LEFT JOIN v_station_of_site AS s ON s.site_location = m.site_location
WHERE m.is_current
