"""Terminal events: reports of machines at work, one row for each; a key never changes its content.

They are numerous, so they are kept for a limited time, in partitions by event time.
"""

from freight.contracts.contract import Column, Contract

RETENTION_DAYS = 400

CONTRACT = Contract(
    dataset="terminal_events",
    version=1,
    table="fact_terminal_events",
    business_key=("event_id", "event_at"),
    freshness_s=3_600,
    load_order=40,
    event_time="event_at",
    immutable=True,
    retention_days=RETENTION_DAYS,
    columns=(
        Column(
            "event_id",
            "text",
            "Identifier of the event.",
            required=True,
            pattern=r"EVT-[0-9]{1,18}",
            example="EVT-42",
            aliases=("id", "evt_id", "id_evenement"),
        ),
        Column(
            "machine_id",
            "text",
            "Machine that reported the event.",
            required=True,
            pattern=r"MCH-[0-9]{3,6}",
            example="MCH-007",
            aliases=("machine", "id_machine", "code_machine"),
        ),
        Column(
            "event_at",
            "instant",
            "Time of the event (UTC); a time without an offset is the local time of Africa/Douala.",
            required=True,
            not_before="2000-01-01",
            past_limit_s=RETENTION_DAYS * 86_400,
            future_limit_s=86_400,
            aliases=("date", "datetime", "timestamp", "horodatage"),
        ),
        Column(
            "event_type",
            "text",
            "Kind of event.",
            required=True,
            allowed=("LOADED", "UNLOADED", "WEIGHED", "MOVED", "STARTED", "STOPPED", "ALARM"),
            aliases=("type", "type_evenement"),
        ),
        Column(
            "volume_transferred_t",
            "number",
            "Freight moved; empty if the event moves none or the scale gave no reading.",
            unit="tonnes",
            minimum=0,
            maximum=5_000,
            aliases=("volume_transferred", "volume", "tonnage"),
        ),
        Column(
            "status_code",
            "text",
            "Status that the machine reported for itself.",
            required=True,
            allowed=("OK", "WARN", "ERR"),
            aliases=("status", "statut", "code_statut", "etat"),
        ),
        Column(
            "flow_rate_t_per_h",
            "number",
            "Rate of flow of the freight; empty if nothing flows.",
            unit="tonnes per hour",
            minimum=0,
            maximum=20_000,
            aliases=("flow_rate", "debit"),
        ),
        Column(
            "pressure_bar",
            "number",
            "Hydraulic pressure.",
            unit="bar",
            minimum=0,
            maximum=1_000,
            aliases=("pressure", "pression"),
        ),
        Column(
            "vibration_mm_s",
            "number",
            "Vibration velocity of the bearings, root mean square.",
            unit="mm/s",
            minimum=0,
            maximum=500,
            aliases=("vibration",),
        ),
        Column(
            "temperature_deg_c",
            "number",
            "Temperature of the bearings.",
            unit="degrees Celsius",
            minimum=-50,
            maximum=400,
            aliases=("temperature",),
        ),
    ),
    derived=(
        Column(
            "is_late",
            "boolean",
            "More than an hour behind the newest event of its partition on arrival.",
            required=True,
        ),
    ),
)
