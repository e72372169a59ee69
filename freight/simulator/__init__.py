"""A deterministic freight corridor that writes source files and sends messages, for demos, tests and benchmarks.

Import `freight.simulator.producer` by its own name: only senders need Kafka's client.
"""

from freight.simulator.corridor import MACHINE_TYPES, STATIONS, TERMINALS, Station, Terminal, stations
from freight.simulator.events import MOVE_DAY, TRANSACTION_SCHEMA, Corridor, Machine
from freight.simulator.faults import FAULTS, FAULTS_OF_COMMA_FILES, Fault, as_text, break_rows
from freight.simulator.landing import LandingSummary, fill_landing
from freight.simulator.poison import POISON, Poison, poisoned
from freight.simulator.stream import (
    Message,
    Messages,
    first_live_number,
    live_terminal_events,
    live_transactions,
    terminal_event_messages,
    transaction_messages,
)
from freight.simulator.terminal_events import EVENT_SCHEMA
from freight.simulator.writers import COMMA, FRENCH, CsvStyle, write_csv, write_erp_excel, write_json

__all__ = [
    "COMMA",
    "EVENT_SCHEMA",
    "FAULTS",
    "FAULTS_OF_COMMA_FILES",
    "FRENCH",
    "MACHINE_TYPES",
    "MOVE_DAY",
    "POISON",
    "STATIONS",
    "TERMINALS",
    "TRANSACTION_SCHEMA",
    "Corridor",
    "CsvStyle",
    "Fault",
    "LandingSummary",
    "Machine",
    "Message",
    "Messages",
    "Poison",
    "Station",
    "Terminal",
    "as_text",
    "break_rows",
    "fill_landing",
    "first_live_number",
    "live_terminal_events",
    "live_transactions",
    "poisoned",
    "stations",
    "terminal_event_messages",
    "transaction_messages",
    "write_csv",
    "write_erp_excel",
    "write_json",
]
