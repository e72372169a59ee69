"""The fixed reference of the simulated corridor: its stations, its freight terminals and the kinds of machines.

Positions and kilometres are approximate: good enough for a map and for distances in reports, not for a survey.
"""

from dataclasses import asdict, dataclass

import polars as pl

MACHINE_TYPES = ("crane", "conveyor", "weighbridge", "reach stacker", "forklift", "wagon tippler", "pump")


@dataclass(frozen=True)
class Station:
    """One station ("gare") of the line, with the columns of the stations dataset."""

    station_code: str
    station_name: str
    region: str
    latitude_deg: float
    longitude_deg: float
    corridor_km: float


@dataclass(frozen=True)
class Terminal:
    """A station where freight machines work.

    Attributes:
        station_name: The name of the station, as in the machines' `site_location`.
        traffic_share: The share of the corridor's transactions, 0..1; the shares of all terminals add up to 1.
        trouble_share: The share of the terminal's transactions with status WARN or ERR, 0..1.
    """

    station_name: str
    traffic_share: float
    trouble_share: float


STATIONS = (
    Station("DLA", "Douala", "Littoral", 4.0575, 9.7085, 0.0),
    Station("EDE", "Edéa", "Littoral", 3.8000, 10.1333, 82.0),
    Station("ESK", "Eséka", "Centre", 3.6500, 10.7667, 173.0),
    Station("MAK", "Makak", "Centre", 3.5500, 11.0333, 211.0),
    Station("YDE", "Yaoundé", "Centre", 3.8730, 11.5210, 264.0),
    Station("OBA", "Obala", "Centre", 4.1667, 11.5333, 306.0),
    Station("MBK", "Mbandjock", "Centre", 4.4500, 11.9000, 365.0),
    Station("NEB", "Nanga-Eboko", "Centre", 4.6833, 12.3667, 441.0),
    Station("BEL", "Bélabo", "Est", 4.9333, 13.3000, 560.0),
    Station("MBT", "Mbitom", "Est", 5.7500, 13.6500, 675.0),
    Station("NGD", "Ngaoundal", "Adamaoua", 6.4667, 13.2667, 782.0),
    Station("MKR", "Makor", "Adamaoua", 6.9000, 13.4500, 836.0),
    Station("NGE", "Ngaoundéré", "Adamaoua", 7.3167, 13.5833, 886.0),
)

# The port and the capital carry most of the freight; machines fail more often at the far end of the line.
TERMINALS = (
    Terminal("Douala", 0.36, 0.12),
    Terminal("Yaoundé", 0.28, 0.20),
    Terminal("Bélabo", 0.13, 0.42),
    Terminal("Ngaoundéré", 0.12, 0.30),
    Terminal("Edéa", 0.11, 0.16),
)


def stations() -> pl.DataFrame:
    """Return the stations, one row each, with the columns of the stations contract (degrees, km)."""
    return pl.DataFrame([asdict(station) for station in STATIONS])
