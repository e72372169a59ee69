-- The role of each station in the corridor, over the reporting window. Two thresholds decide; they appear below once:
--   min_volume_share 0.15    a hub carries at least 15 of 100 tonnes of the corridor
--   min_reliability  0.90    a reliable station has alerts in at most 10 of 100 transactions
-- A value equal to the threshold reaches it. The classes:
--   STRATEGIC HUB      big share, reliable       the corridor depends on it
--   HUB AT RISK        big share, not reliable   act here first, its failures cost most
--   RELIABLE FEEDER    small share, reliable     could take more freight
--   FRAGILE STOP       small share, not reliable repair before it gets more freight
--   NO TRAFFIC         a station without transactions in the window
--   NOT A STATION      traffic of a site that is UNKNOWN or matches no station, see the analyst guide
-- Values are rounded to 6 digits before the comparison, so that both engines decide alike at a threshold.
-- Columns as in: v_station_reliability.
--   hub_class (text): Class, see above.
--   min_volume_share (number, share): From this volume_share on, a station is a hub.
--   min_reliability (number, share): From this reliability on, a station is reliable.
WITH thresholds AS (
    SELECT 0.15 AS min_volume_share, 0.90 AS min_reliability
),
measured AS (
    SELECT
        r.*,
        ROUND(CAST(COALESCE(r.volume_share, 0) AS NUMERIC), 6) >= t.min_volume_share AS is_big,
        ROUND(CAST(r.reliability AS NUMERIC), 6) >= t.min_reliability AS is_reliable,
        t.min_volume_share,
        t.min_reliability
    FROM v_station_reliability AS r
    CROSS JOIN thresholds AS t
)
SELECT
    m.site_location,
    m.station_code,
    m.region,
    m.corridor_km,
    CASE
        WHEN m.station_code IS NULL THEN 'NOT A STATION'
        WHEN m.transactions = 0 THEN 'NO TRAFFIC'
        WHEN m.is_big AND m.is_reliable THEN 'STRATEGIC HUB'
        WHEN m.is_big THEN 'HUB AT RISK'
        WHEN m.is_reliable THEN 'RELIABLE FEEDER'
        ELSE 'FRAGILE STOP'
    END AS hub_class,
    m.volume_share,
    m.reliability,
    m.transactions,
    m.volume_t,
    m.alerts,
    m.active_days,
    m.days,
    CAST(m.min_volume_share AS DOUBLE PRECISION) AS min_volume_share,
    CAST(m.min_reliability AS DOUBLE PRECISION) AS min_reliability,
    m.first_date,
    m.last_date
FROM measured AS m
