-- The station of each site. Facts and machines name their site by the station's name; if two stations share a name, the
-- smaller code gets the site (as in the load), so a join never doubles a fact.
-- Columns as in: dim_stations.
--   site_location (text): Name of the station, by which facts and machines name their site.
SELECT
    s.station_name AS site_location,
    s.station_code,
    s.region,
    s.latitude_deg,
    s.longitude_deg,
    s.corridor_km
FROM dim_stations AS s
WHERE NOT EXISTS (
    SELECT 1
    FROM dim_stations AS smaller
    WHERE smaller.station_name = s.station_name AND smaller.station_code < s.station_code
)
