-- The machines behind the site UNKNOWN: those with transactions there in the reporting window, and those to which the
-- newest machines file gives no site. `reason` says why. The transactions move to a site once a machines file names it.
-- Columns as in: v_machines, v_days.
--   reason (text): Why it has no site.
--   site_now (text): Site of the machine now; empty if no machines file lists it.
--   site_since (instant): Instant since which it has that site.
--   first_date (date): First local day of these transactions.
--   last_date (date): Last local day of these transactions.
WITH traffic AS (
    SELECT
        t.machine_id,
        COUNT(*) AS transactions,
        COALESCE(SUM(t.volume_transferred_t), 0.0) AS volume_t,
        MIN(t.transaction_date) AS first_date,
        MAX(t.transaction_date) AS last_date
    FROM fact_transactions AS t
    JOIN v_reporting_window AS w ON t.day_number BETWEEN w.first_day_number AND w.last_day_number
    WHERE t.site_location = 'UNKNOWN'
    GROUP BY t.machine_id
),
named AS (
    SELECT machine_id FROM traffic
    UNION
    SELECT machine_id FROM v_machines WHERE site_location = 'UNKNOWN' AND is_absent = 0
)
SELECT
    n.machine_id,
    CASE
        WHEN m.machine_id IS NULL THEN 'no machines file lists it'
        WHEN m.site_location = 'UNKNOWN' THEN 'the machines file gives it no site'
        ELSE 'it had no site at the time'
    END AS reason,
    m.site_location AS site_now,
    m.valid_from AS site_since,
    COALESCE(t.transactions, 0) AS transactions,
    COALESCE(t.volume_t, 0.0) AS volume_t,
    t.first_date,
    t.last_date
FROM named AS n
LEFT JOIN traffic AS t ON t.machine_id = n.machine_id
LEFT JOIN v_machines AS m ON m.machine_id = n.machine_id
