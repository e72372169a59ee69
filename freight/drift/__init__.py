"""Schema drift: differences of new content from the contract and from recent content, found before anything loads."""

from freight.drift.columns import FirstRows, describe_drift
from freight.drift.jumps import FROM_ROWS, LATELY_UNITS, jumps
from freight.drift.profile import Profile, Profiler, read_profile, written
from freight.drift.retyped import expectation, retyped_column

__all__ = [
    "FROM_ROWS",
    "LATELY_UNITS",
    "FirstRows",
    "Profile",
    "Profiler",
    "describe_drift",
    "expectation",
    "jumps",
    "read_profile",
    "retyped_column",
    "written",
]
