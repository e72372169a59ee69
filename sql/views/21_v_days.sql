-- One row for each local day from the first to the newest in the data, with its completeness. The newest day may have
-- begun only: then is_complete is 0, and the reporting window ends the day before. A day is complete if
--   a later day is in the data,
--   or the newest delivery stands for an instant after its end,
--   or a delivery was written after its end, and every expected station has reported.
-- A station is expected on a day if it had traffic in the 30 days up to it.
-- Columns as in: dim_calendar.
--   transaction_date (date): Local day.
--   is_complete (integer): 1 if the day is complete, 0 if it may have begun only.
--   stations_reported (integer): Stations with traffic on the day.
--   stations_expected (integer): Stations with traffic in the 30 days up to it.
--   transactions (integer): Number of transactions.
--   volume_t (number, tonnes): Freight moved.
--   alerts (integer): Number of alerts.
WITH span AS (
    SELECT MIN(day_number) AS oldest, MAX(day_number) AS newest FROM aggr_daily_site_stats
),
reached AS (
    SELECT
        MAX((p.origin_us + 3600000000) / 86400000000) AS stated_day,
        MAX((p.modified_us + 3600000000) / 86400000000) AS written_day
    FROM file_positions AS p
    INNER JOIN batches AS b ON b.batch_id = p.batch_id
    WHERE b.dataset = 'transactions'
),
reports AS (
    SELECT
        s.station_code,
        d.day_number,
        LEAD(d.day_number, 1, d.day_number + 30) OVER (PARTITION BY s.station_code ORDER BY d.day_number) AS next_day
    FROM aggr_daily_site_stats AS d
    INNER JOIN v_station_of_site AS s ON s.site_location = d.site_location
),
stations AS (
    SELECT
        c.day_number,
        COUNT(*) AS stations_expected,
        CAST(SUM(CASE WHEN c.day_number = r.day_number THEN 1 ELSE 0 END) AS BIGINT) AS stations_reported
    FROM reports AS r
    INNER JOIN dim_calendar AS c
        ON c.day_number >= r.day_number AND c.day_number < r.next_day AND c.day_number < r.day_number + 30
    GROUP BY c.day_number
),
traffic AS (
    SELECT
        day_number,
        CAST(SUM(total_transactions) AS BIGINT) AS transactions,
        SUM(total_volume) AS volume_t,
        CAST(SUM(total_alerts) AS BIGINT) AS alerts
    FROM aggr_daily_site_stats
    GROUP BY day_number
)
SELECT
    c.day_number,
    c.calendar_date AS transaction_date,
    CASE
        WHEN c.day_number < span.newest OR c.day_number < reached.stated_day THEN 1
        WHEN
            c.day_number < reached.written_day
            AND COALESCE(s.stations_reported, 0) = COALESCE(s.stations_expected, 0)
            THEN 1
        ELSE 0
    END AS is_complete,
    COALESCE(s.stations_reported, 0) AS stations_reported,
    COALESCE(s.stations_expected, 0) AS stations_expected,
    COALESCE(t.transactions, 0) AS transactions,
    COALESCE(t.volume_t, 0.0) AS volume_t,
    COALESCE(t.alerts, 0) AS alerts
FROM dim_calendar AS c
INNER JOIN span ON c.day_number BETWEEN span.oldest AND span.newest
CROSS JOIN reached
LEFT JOIN stations AS s ON s.day_number = c.day_number
LEFT JOIN traffic AS t ON t.day_number = c.day_number
