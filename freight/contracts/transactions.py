"""Transactions: one row for each transfer of freight by a machine, as the ERP or the stream reports it."""

from freight.contracts.contract import Column, Contract

CONTRACT = Contract(
    dataset="transactions",
    version=1,
    table="fact_transactions",
    business_key=("transaction_id",),
    freshness_s=36 * 3_600,
    load_order=30,
    event_time="transaction_at",
    columns=(
        Column(
            "transaction_id",
            "text",
            "Identifier of the transaction.",
            required=True,
            pattern=r"[A-Z]{2,5}-[0-9]{1,18}",
            aliases=("id", "trx_id", "id_transaction", "numero_transaction", "n°_transaction"),
        ),
        Column(
            "machine_id",
            "text",
            "Machine that made the transfer.",
            required=True,
            pattern=r"MCH-[0-9]{3,6}",
            aliases=("machine", "id_machine", "code_machine"),
        ),
        Column(
            "transaction_at",
            "instant",
            "When the transfer was made (UTC); sources give the local time of Africa/Douala.",
            required=True,
            not_before="2000-01-01",
            future_limit_s=86_400,
            aliases=("date", "datetime", "timestamp", "date_heure", "date_transaction", "horodatage"),
        ),
        Column(
            "volume_transferred_t",
            "number",
            "Freight moved; empty when the scale gave no reading.",
            unit="tonnes",
            minimum=0,
            maximum=5_000,
            aliases=("volume_transferred", "volume", "volume_transfere", "tonnage", "volume_(t)"),
        ),
        Column(
            "status_code",
            "text",
            "How the machine reported the transfer.",
            required=True,
            allowed=("OK", "WARN", "ERR"),
            aliases=("status", "statut", "code_statut", "etat"),
        ),
    ),
    derived=(
        Column("transaction_date", "date", "Local day (Africa/Douala) of the transfer.", required=True),
        Column("day_number", "integer", "The local day as days since 1970-01-01; joins dim_calendar.", required=True),
        Column(
            "site_location",
            "text",
            "Station where the machine stood at the time; UNKNOWN when there is none.",
            required=True,
        ),
        Column("installation_year", "integer", "Installation year of the machine, as known at the time."),
        Column(
            "critical_alert",
            "boolean",
            "Status WARN or ERR and a volume under 20 tonnes; no volume is no alert.",
            required=True,
        ),
        Column(
            "is_late",
            "boolean",
            "Came from a stream more than an hour behind the newest event of its partition; files are never late.",
            required=True,
        ),
    ),
)
