-- The 30 days that the reports cover. They end at the newest day in the data, not today, so that the figures of a
-- warehouse do not change with time. One row, or none until a transaction is loaded. `first_date` is the first day of
-- the window on or after the first day in the data; `days` counts from there, so a young warehouse is not diluted.
SELECT
    MIN(c.day_number) AS first_day_number,
    MAX(c.day_number) AS last_day_number,
    MIN(c.calendar_date) AS first_date,
    MAX(c.calendar_date) AS last_date,
    COUNT(*) AS days
FROM dim_calendar AS c
CROSS JOIN (SELECT MIN(day_number) AS oldest, MAX(day_number) AS newest FROM aggr_daily_site_stats) AS span
WHERE c.day_number BETWEEN span.newest - 29 AND span.newest AND c.day_number >= span.oldest
HAVING COUNT(*) > 0
