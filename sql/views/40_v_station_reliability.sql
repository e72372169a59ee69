-- The reliability of each station in the reporting window: 1 - alerts / transactions, empty without traffic. Every
-- station has a row, with or without traffic, and so does every site with traffic that is not a station (such as
-- UNKNOWN): its station_code is empty. volume_share is the share of the volume of all sites.
-- Columns as in: v_reporting_window, v_days, v_station_of_site.
--   site_location (text): Station or other site.
--   active_days (integer): Days of the window with a transaction.
--   days (integer): Days of the window.
--   reliability (number, share): 1 - alerts / transactions; empty without a transaction.
--   volume_share (number, share): Part of the volume of all sites.
WITH traffic AS (
    SELECT
        d.site_location,
        COUNT(*) AS active_days,
        CAST(SUM(d.total_transactions) AS BIGINT) AS transactions,
        SUM(d.total_volume) AS volume_t,
        CAST(SUM(d.total_alerts) AS BIGINT) AS alerts
    FROM aggr_daily_site_stats AS d
    JOIN v_reporting_window AS w ON d.day_number BETWEEN w.first_day_number AND w.last_day_number
    GROUP BY d.site_location
),
sites AS (
    SELECT t.site_location, o.station_code, o.region, o.corridor_km, t.active_days, t.transactions, t.volume_t, t.alerts
    FROM traffic AS t
    LEFT JOIN v_station_of_site AS o ON o.site_location = t.site_location
    UNION ALL
    SELECT s.station_name, s.station_code, s.region, s.corridor_km, 0, 0, 0.0, 0
    FROM dim_stations AS s
    WHERE NOT EXISTS (
        SELECT 1
        FROM traffic AS t
        JOIN v_station_of_site AS o ON o.site_location = t.site_location
        WHERE o.station_code = s.station_code
    )
)
SELECT
    x.site_location,
    x.station_code,
    x.region,
    x.corridor_km,
    x.active_days,
    w.days,
    x.transactions,
    x.volume_t,
    x.alerts,
    1 - CAST(x.alerts AS DOUBLE PRECISION) / NULLIF(x.transactions, 0) AS reliability,
    x.volume_t / NULLIF(SUM(x.volume_t) OVER (), 0) AS volume_share,
    w.first_date,
    w.last_date
FROM sites AS x
LEFT JOIN v_reporting_window AS w ON w.days > 0
