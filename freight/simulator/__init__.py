"""A deterministic freight corridor that writes source files: for the demo, the tests and the benchmarks."""

from freight.simulator.corridor import MACHINE_TYPES, STATIONS, TERMINALS, Station, Terminal, stations
from freight.simulator.events import MOVE_DAY, TRANSACTION_SCHEMA, Corridor, Machine
from freight.simulator.faults import FAULTS, FAULTS_OF_COMMA_FILES, Fault, as_text, break_rows
from freight.simulator.landing import LandingSummary, fill_landing
from freight.simulator.writers import COMMA, FRENCH, UTF16_TAB, Dialect, write_csv, write_erp_excel, write_json

__all__ = [
    "COMMA",
    "FAULTS",
    "FAULTS_OF_COMMA_FILES",
    "FRENCH",
    "MACHINE_TYPES",
    "MOVE_DAY",
    "STATIONS",
    "TERMINALS",
    "TRANSACTION_SCHEMA",
    "UTF16_TAB",
    "Corridor",
    "Dialect",
    "Fault",
    "LandingSummary",
    "Machine",
    "Station",
    "Terminal",
    "as_text",
    "break_rows",
    "fill_landing",
    "stations",
    "write_csv",
    "write_erp_excel",
    "write_json",
]
