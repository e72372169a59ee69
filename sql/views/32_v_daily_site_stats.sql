-- One row per local day and site with traffic. Sites that are not stations (such as UNKNOWN) have rows of their own,
-- with empty station columns. A day whose is_complete is 0 may have begun only: do not compare it with others (see
-- v_days).
-- Columns as in: aggr_daily_site_stats, v_days, dim_calendar, v_station_of_site.
--   alert_share (number, share): total_alerts / total_transactions.
SELECT
    d.day_number,
    d.transaction_date,
    c.calendar_year,
    c.calendar_month,
    c.iso_year,
    c.iso_week,
    c.iso_weekday,
    d.site_location,
    s.station_code,
    s.region,
    s.corridor_km,
    d.total_transactions,
    d.total_volume,
    d.total_alerts,
    CAST(d.total_alerts AS DOUBLE PRECISION) / NULLIF(d.total_transactions, 0) AS alert_share,
    d.active_machines,
    y.is_complete,
    y.stations_reported,
    y.stations_expected,
    d.as_of
FROM aggr_daily_site_stats AS d
LEFT JOIN dim_calendar AS c ON c.day_number = d.day_number
LEFT JOIN v_days AS y ON y.day_number = d.day_number
LEFT JOIN v_station_of_site AS s ON s.site_location = d.site_location
