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
            example="TRX-42",
            aliases=(
                *("id", "trx_id", "id_transaction", "numero_transaction", "n°_transaction", "no_transaction"),
                "transaktion",
            ),
        ),
        Column(
            "machine_id",
            "text",
            "Machine that made the transfer.",
            required=True,
            pattern=r"MCH-[0-9]{3,6}",
            example="MCH-007",
            aliases=("machine", "id_machine", "code_machine", "maschine"),
        ),
        Column(
            "transaction_at",
            "instant",
            "Time of the transfer (UTC); sources give the local time of Africa/Douala.",
            required=True,
            not_before="2000-01-01",
            future_limit_s=86_400,
            aliases=(
                *("date", "datetime", "timestamp", "date_heure", "date_transaction", "horodatage", "datum"),
                "zeitpunkt",
            ),
        ),
        Column(
            "volume_transferred_t",
            "number",
            "Freight moved; empty if the scale gave no reading.",
            unit="tonnes",
            minimum=0,
            maximum=5_000,
            aliases=("volume_transferred", "volume", "volume_transfere", "tonnage", "volume_(t)", "menge", "menge_(t)"),
        ),
        Column(
            "status_code",
            "text",
            "Status that the machine reported for the transfer.",
            required=True,
            allowed=("OK", "WARN", "ERR"),
            aliases=("status", "statut", "code_statut", "etat"),
        ),
    ),
    derived=(
        Column("transaction_date", "date", "Local day (Africa/Douala) of the transfer.", required=True),
        Column("day_number", "integer", "Local day as days since 1970-01-01; joins dim_calendar.", required=True),
        Column(
            "site_location",
            "text",
            "Station of the machine at the time; UNKNOWN if it had none.",
            required=True,
        ),
        Column("installation_year", "integer", "Installation year of the machine, as known at the time of transfer."),
        Column(
            "critical_alert",
            "boolean",
            "Status WARN or ERR and a volume below 20 tonnes; never without a volume.",
            required=True,
        ),
        Column(
            "is_late",
            "boolean",
            "From a stream, more than an hour behind the newest event of its partition; files are never late.",
            required=True,
        ),
    ),
)
