"""Stations ("gares") of the corridor."""

from freight.contracts.contract import Column, Contract

CONTRACT = Contract(
    dataset="stations",
    version=1,
    table="dim_stations",
    business_key=("station_code",),
    freshness_s=90 * 86_400,
    load_order=10,
    snapshot=True,
    columns=(
        Column(
            "station_code",
            "text",
            "Code of the station, unique on the corridor.",
            required=True,
            pattern=r"[A-Z]{3,5}",
            example="DLA",
            aliases=("code", "code_gare", "gare_code", "station"),
        ),
        Column(
            "station_name",
            "text",
            "Name of the station as people write it, with accents.",
            required=True,
            max_length=80,
            aliases=("name", "nom", "nom_gare", "gare"),
        ),
        Column(
            "region", "text", "Administrative region.", required=True, max_length=80, aliases=("région", "province")
        ),
        Column(
            "latitude_deg",
            "number",
            "Latitude, WGS 84.",
            unit="degrees",
            required=True,
            minimum=1.5,
            maximum=13.2,
            aliases=("latitude", "lat"),
        ),
        Column(
            "longitude_deg",
            "number",
            "Longitude, WGS 84.",
            unit="degrees",
            required=True,
            minimum=8.3,
            maximum=16.3,
            aliases=("longitude", "lon", "lng", "long"),
        ),
        Column(
            "corridor_km",
            "number",
            "Distance from Douala along the line.",
            unit="km",
            required=True,
            minimum=0,
            maximum=2_000,
            aliases=("km", "pk", "point_kilometrique", "corridor"),
        ),
    ),
)
