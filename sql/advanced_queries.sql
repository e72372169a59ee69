-- Questions that the corridor's analysts ask, ready to run.
--
-- How to use it: open this file in DBeaver, choose the connection of the warehouse (the SQLite file or PostgreSQL, the
-- text is the same for both), put the cursor into a query and press Ctrl+Enter. Alt+X runs all of them.
-- Days are local days (Africa/Douala), volumes are in tonnes, percentages are between 0 and 100. "The window" is that of
-- v_reporting_window, the 30 days up to the newest complete day in the data (v_days says which days are complete). A day
-- that has only begun is marked, and compared with nothing. docs/analyst-guide.md describes the views.
-- The site UNKNOWN stands for machines without a site. It is part of every answer, so totals always add up.
--
-- For editors of a query: ROUND(CAST(x + 0.000000001 AS NUMERIC), n) rounds the same way on both engines, the small term
-- lifts a value exactly halfway between two others, since its double may be slightly below. Every ORDER BY ends in a key,
-- so that the order of rows is the same everywhere. Leave no empty line inside a query, DBeaver would split it there.

-- 1. Day-over-day change of alerts per site
-- Business question: where did alerts rise or fall against the day before?
-- How to read it: change_pct 50 means half as many alerts again as the day before, -100 means that all of them are gone.
-- It is empty if a percentage has no meaning. `note` says why: the day is incomplete, no data for the day before, or no
-- alerts on it. stations_reported of stations_expected stations had traffic on that day.
SELECT
    d.transaction_date,
    d.site_location,
    d.total_alerts,
    b.total_alerts AS alerts_the_day_before,
    CASE
        WHEN d.is_complete = 1
            THEN ROUND(
                CAST(
                    100 * CAST(d.total_alerts - b.total_alerts AS DOUBLE PRECISION) / NULLIF(b.total_alerts, 0)
                    + 0.000000001
                    AS NUMERIC
                ),
                2
            )
    END AS change_pct,
    CASE
        WHEN d.is_complete = 0 THEN 'the day is incomplete'
        WHEN b.total_alerts IS NULL THEN 'no data the day before'
        WHEN b.total_alerts = 0 AND d.total_alerts > 0 THEN 'no alerts the day before'
        WHEN b.total_alerts = 0 THEN 'no alerts on both days'
    END AS note,
    d.stations_reported,
    d.stations_expected
FROM v_daily_site_stats AS d
LEFT JOIN v_daily_site_stats AS b ON b.site_location = d.site_location AND b.day_number = d.day_number - 1
ORDER BY d.day_number DESC, d.site_location;

-- 2. Stations ranked by reliability
-- Business question: which stations move freight without alerts, and which do not?
-- How to read it: rank 1 is the most reliable, stations of equal reliability share a rank. reliability_pct 95 means alerts
-- in 5 of 100 transactions of the window, with traffic on active_days of its days. Stations without traffic and sites that
-- are not stations come last, unranked.
SELECT
    CASE
        WHEN r.station_code IS NOT NULL AND r.reliability IS NOT NULL
            THEN RANK() OVER (
                PARTITION BY CASE WHEN r.station_code IS NOT NULL AND r.reliability IS NOT NULL THEN 1 ELSE 0 END
                ORDER BY r.reliability DESC
            )
    END AS reliability_rank,
    r.station_code,
    r.site_location,
    r.transactions,
    r.alerts,
    ROUND(CAST(100 * r.reliability + 0.000000001 AS NUMERIC), 2) AS reliability_pct,
    ROUND(CAST(100 * r.volume_share + 0.000000001 AS NUMERIC), 2) AS volume_share_pct,
    r.active_days,
    r.days
FROM v_station_reliability AS r
ORDER BY
    CASE WHEN r.station_code IS NULL THEN 2 WHEN r.reliability IS NULL THEN 1 ELSE 0 END,
    r.reliability DESC,
    r.station_code,
    r.site_location;

-- 3. Hub Logistics Classification
-- Business question: which stations carry the corridor, and can we rely on them?
-- How to read it: two thresholds determine the class (both are shown). A STRATEGIC HUB carries a big share and is reliable,
-- a HUB AT RISK carries a big share with too many alerts (act here first), a RELIABLE FEEDER is small and could take more,
-- a FRAGILE STOP is small and needs repair before it can. NO TRAFFIC and NOT A STATION are self-explanatory. The figures
-- come from active_days of the days of the window.
SELECT
    h.hub_class,
    h.station_code,
    h.site_location,
    h.region,
    ROUND(CAST(h.volume_t + 0.000000001 AS NUMERIC), 3) AS volume_t,
    ROUND(CAST(100 * h.volume_share + 0.000000001 AS NUMERIC), 2) AS volume_share_pct,
    ROUND(CAST(100 * h.reliability + 0.000000001 AS NUMERIC), 2) AS reliability_pct,
    ROUND(CAST(100 * h.min_volume_share + 0.000000001 AS NUMERIC), 2) AS big_from_pct,
    ROUND(CAST(100 * h.min_reliability + 0.000000001 AS NUMERIC), 2) AS reliable_from_pct,
    h.active_days,
    h.days
FROM v_hub_classification AS h
ORDER BY
    CASE h.hub_class
        WHEN 'HUB AT RISK' THEN 1
        WHEN 'STRATEGIC HUB' THEN 2
        WHEN 'FRAGILE STOP' THEN 3
        WHEN 'RELIABLE FEEDER' THEN 4
        WHEN 'NOT A STATION' THEN 5
        ELSE 6
    END,
    ROUND(CAST(h.volume_t AS NUMERIC), 3) DESC,
    h.station_code,
    h.site_location;

-- 4. Top 10 machines
-- Business question: which machines move most of the freight, how often do they fail, and how busy are they?
-- How to read it: ranked by volume in the window. Machines of equal volume share a rank, so there can be more than 10.
-- utilisation_pct 50 means transactions on half of the days of the window (active_days of days). The site is the current one of the machine.
SELECT
    a.volume_rank,
    a.machine_id,
    a.machine_type,
    a.site_location,
    a.transactions,
    ROUND(CAST(a.volume_t + 0.000000001 AS NUMERIC), 3) AS volume_t,
    a.alerts,
    ROUND(CAST(100 * a.alert_share + 0.000000001 AS NUMERIC), 2) AS alert_pct,
    a.active_days,
    a.days,
    ROUND(CAST(100 * a.utilisation + 0.000000001 AS NUMERIC), 2) AS utilisation_pct
FROM v_machine_activity AS a
WHERE a.volume_rank <= 10
ORDER BY a.volume_rank, a.machine_id;

-- 5. Rolling 7-day volume per site
-- Business question: does a site carry more or less than it used to, regardless of weekdays and single bad days?
-- How to read it: volume_7_days_t is the volume of that day and the six calendar days before it. A day without data
-- counts as zero, it does not bring in an eighth day. days_with_data below 7 means that some days have no data. If
-- day_is_complete is 0, that day may have begun only, and its sum is too small to compare.
SELECT
    d.transaction_date,
    d.site_location,
    ROUND(CAST(d.total_volume + 0.000000001 AS NUMERIC), 3) AS volume_t,
    ROUND(
        CAST(
            SUM(d.total_volume) OVER (
                PARTITION BY d.site_location
                ORDER BY d.day_number
                RANGE BETWEEN 6 PRECEDING AND CURRENT ROW
            ) + 0.000000001
            AS NUMERIC
        ),
        3
    ) AS volume_7_days_t,
    COUNT(*) OVER (
        PARTITION BY d.site_location
        ORDER BY d.day_number
        RANGE BETWEEN 6 PRECEDING AND CURRENT ROW
    ) AS days_with_data,
    d.is_complete AS day_is_complete
FROM v_daily_site_stats AS d
ORDER BY d.day_number DESC, d.site_location;

-- 6. Data quality per source
-- Business question: can I trust the delivered data, and are they up to date?
-- How to read it: balance must be 0, then every row read is accounted for. quarantined_pct is the share of rows that broke
-- the contract. superseded rows are older versions of rows in the warehouse. A last_failed_at later than last_loaded_at
-- means that the newest delivery did not load. hours_behind compares a source with the freshest one.
SELECT
    q.source,
    q.dataset,
    q.files,
    q.read_rows,
    q.quarantined,
    ROUND(CAST(100 * q.quarantined_share + 0.000000001 AS NUMERIC), 2) AS quarantined_pct,
    q.waiting_rows,
    q.superseded,
    q.balance,
    q.last_loaded_at,
    q.newest_as_of,
    ROUND(CAST(q.hours_behind + 0.000000001 AS NUMERIC), 1) AS hours_behind,
    q.failed_attempts,
    q.last_failed_at,
    q.last_fault
FROM v_data_quality AS q
ORDER BY q.quarantined DESC, q.read_rows DESC, q.source, q.dataset;

-- 7. Missing and late days per site
-- Business question: which days have no data, and for which days did data arrive late?
-- How to read it: MISSING is a run of days without any transaction between a site's first day and the newest complete day
-- of all sites, days is its length. LATE is a day with rows from a file dated more than one day after it, rows is their number
-- and days the delay of the latest one. A correction that was delivered later counts as late, too. All days are local to
-- the corridor, one hour ahead of UTC.
WITH newest AS (
    SELECT last_day_number AS day_number FROM v_reporting_window
),
followed AS (
    SELECT
        d.site_location,
        d.day_number,
        LEAD(d.day_number, 1, n.day_number + 1) OVER (PARTITION BY d.site_location ORDER BY d.day_number) AS next_day
    FROM aggr_daily_site_stats AS d
    CROSS JOIN newest AS n
),
delivered AS (
    SELECT t.site_location, t.day_number, (t.origin_us + 3600000000) / 86400000000 - t.day_number AS days_after
    FROM fact_transactions AS t
),
findings AS (
    SELECT 'MISSING' AS finding, site_location, day_number + 1 AS first_day, next_day - 1 AS last_day,
        next_day - day_number - 1 AS days, 0 AS late_rows
    FROM followed
    WHERE next_day - day_number > 1
    UNION ALL
    SELECT 'LATE', site_location, day_number, day_number, MAX(days_after), COUNT(*)
    FROM delivered
    WHERE days_after > 1
    GROUP BY site_location, day_number
)
SELECT
    f.finding,
    f.site_location,
    s.station_code,
    first_date.calendar_date AS first_date,
    last_date.calendar_date AS last_date,
    f.days,
    f.late_rows
FROM findings AS f
LEFT JOIN v_station_of_site AS s ON s.site_location = f.site_location
LEFT JOIN dim_calendar AS first_date ON first_date.day_number = f.first_day
LEFT JOIN dim_calendar AS last_date ON last_date.day_number = f.last_day
ORDER BY f.first_day DESC, f.finding, f.site_location;

-- 8. Machines that moved, and their volume before and after
-- Business question: did it pay to move a machine?
-- How to read it: one row per move. The figures before it reach back to the previous move (or to the first transaction),
-- the figures after it reach to the next move (or to the newest complete day). Compare volumes per active day, since stays differ in length.
-- change_pct is empty if the machine carried nothing before. A machine whose site became known only later moves from
-- UNKNOWN. moved_at is UTC: a move on the 22nd, at local midnight, shows as 23:00 of the 21st.
WITH stays AS (
    SELECT
        machine_id,
        valid_from,
        site_location,
        LAG(site_location) OVER (PARTITION BY machine_id ORDER BY valid_from) AS site_before
    FROM dim_machines
),
moves AS (
    SELECT
        machine_id,
        valid_from AS moved_at,
        site_before,
        site_location AS site_after,
        LAG(valid_from) OVER (PARTITION BY machine_id ORDER BY valid_from) AS move_before,
        LEAD(valid_from) OVER (PARTITION BY machine_id ORDER BY valid_from) AS move_after
    FROM stays
    WHERE site_before <> site_location
),
carried AS (
    SELECT
        m.machine_id,
        m.moved_at,
        m.site_before,
        m.site_after,
        COALESCE(SUM(CASE WHEN t.transaction_at < m.moved_at THEN t.volume_transferred_t END), 0.0) AS volume_before_t,
        COALESCE(SUM(CASE WHEN t.transaction_at >= m.moved_at THEN t.volume_transferred_t END), 0.0) AS volume_after_t,
        COUNT(DISTINCT CASE WHEN t.transaction_at < m.moved_at THEN t.day_number END) AS days_before,
        COUNT(DISTINCT CASE WHEN t.transaction_at >= m.moved_at THEN t.day_number END) AS days_after
    FROM moves AS m
    LEFT JOIN fact_transactions AS t
        ON t.machine_id = m.machine_id
        AND (m.move_before IS NULL OR t.transaction_at >= m.move_before)
        AND (m.move_after IS NULL OR t.transaction_at < m.move_after)
        AND t.day_number <= (SELECT last_day_number FROM v_reporting_window)
    GROUP BY m.machine_id, m.moved_at, m.site_before, m.site_after
),
per_day AS (
    SELECT
        c.*,
        c.volume_before_t / NULLIF(c.days_before, 0) AS daily_before_t,
        c.volume_after_t / NULLIF(c.days_after, 0) AS daily_after_t
    FROM carried AS c
)
SELECT
    p.machine_id,
    p.moved_at,
    p.site_before,
    p.site_after,
    ROUND(CAST(p.volume_before_t + 0.000000001 AS NUMERIC), 3) AS volume_before_t,
    ROUND(CAST(p.volume_after_t + 0.000000001 AS NUMERIC), 3) AS volume_after_t,
    p.days_before,
    p.days_after,
    ROUND(CAST(p.daily_before_t + 0.000000001 AS NUMERIC), 3) AS daily_before_t,
    ROUND(CAST(p.daily_after_t + 0.000000001 AS NUMERIC), 3) AS daily_after_t,
    ROUND(
        CAST(100 * (p.daily_after_t - p.daily_before_t) / NULLIF(p.daily_before_t, 0) + 0.000000001 AS NUMERIC),
        2
    ) AS change_pct
FROM per_day AS p
ORDER BY p.moved_at DESC, p.machine_id;
