-- The 30 days that the reports cover. They end at the newest complete day in the data (see v_days), not today, so that
-- the figures of a warehouse do not change with time. While no day is complete, they end at the newest day. One row, or
-- none until a transaction is loaded. `first_date` is the first day of the window on or after the first day in the data;
-- `days` counts from there, so a young warehouse is not diluted.
--   first_day_number (integer): First day as days since 1970-01-01.
--   last_day_number (integer): Last day as days since 1970-01-01.
--   first_date (date): First local day.
--   last_date (date): Last local day.
--   days (integer): Number of days.
--   is_complete (integer): 1 if its days are complete, 0 if the only days in the data may have begun only.
--   station_days_reported (integer): Stations with traffic, summed over the days.
--   station_days_expected (integer): Stations expected to have traffic, summed over the days.
SELECT
    MIN(d.day_number) AS first_day_number,
    MAX(d.day_number) AS last_day_number,
    MIN(d.transaction_date) AS first_date,
    MAX(d.transaction_date) AS last_date,
    COUNT(*) AS days,
    MIN(d.is_complete) AS is_complete,
    CAST(SUM(d.stations_reported) AS BIGINT) AS station_days_reported,
    CAST(SUM(d.stations_expected) AS BIGINT) AS station_days_expected
FROM v_days AS d
INNER JOIN (
    SELECT COALESCE(MAX(CASE WHEN is_complete = 1 THEN day_number END), MAX(day_number)) AS last_day
    FROM v_days
) AS newest ON d.day_number BETWEEN newest.last_day - 29 AND newest.last_day
HAVING COUNT(*) > 0
