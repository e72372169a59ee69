-- The activity of each machine in the reporting window, the most volume first. utilisation = days with a transaction /
-- days of the window. Site and type are the current ones, and empty for a machine that no machines file lists. Machines
-- of equal volume share a rank.
-- Columns as in: v_reporting_window, v_station_reliability, v_machines.
--   volume_rank (integer): Rank by volume_t; 1 is the largest, equal volumes share a rank.
--   alert_share (number, share): alerts / transactions.
--   active_days (integer): Days of the window with a transaction.
--   utilisation (number, share): active_days / days of the window.
--   site_location (text): Site of the machine now.
WITH activity AS (
    SELECT
        t.machine_id,
        COUNT(*) AS transactions,
        COALESCE(SUM(t.volume_transferred_t), 0.0) AS volume_t,
        CAST(SUM(CASE WHEN t.critical_alert THEN 1 ELSE 0 END) AS BIGINT) AS alerts,
        COUNT(DISTINCT t.day_number) AS active_days
    FROM fact_transactions AS t
    JOIN v_reporting_window AS w ON t.day_number BETWEEN w.first_day_number AND w.last_day_number
    GROUP BY t.machine_id
)
SELECT
    -- rounded, since the last bits of a sum of doubles depend on the order of its terms
    RANK() OVER (ORDER BY ROUND(CAST(a.volume_t AS NUMERIC), 3) DESC) AS volume_rank,
    a.machine_id,
    m.machine_type,
    m.site_location,
    m.station_code,
    a.transactions,
    a.volume_t,
    a.alerts,
    CAST(a.alerts AS DOUBLE PRECISION) / NULLIF(a.transactions, 0) AS alert_share,
    a.active_days,
    w.days,
    CAST(a.active_days AS DOUBLE PRECISION) / NULLIF(w.days, 0) AS utilisation,
    w.first_date,
    w.last_date
FROM activity AS a
CROSS JOIN v_reporting_window AS w
LEFT JOIN v_machines AS m ON m.machine_id = a.machine_id
