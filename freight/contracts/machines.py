"""Machines of the terminals. Their history is kept: a transaction belongs to its machine's site at the time."""

from freight.contracts.contract import Column, Contract

CONTRACT = Contract(
    dataset="machines",
    version=1,
    table="dim_machines",
    business_key=("machine_id",),
    freshness_s=7 * 86_400,
    load_order=20,
    snapshot=True,
    columns=(
        Column(
            "machine_id",
            "text",
            "Identifier of the machine.",
            required=True,
            pattern=r"MCH-[0-9]{3,6}",
            example="MCH-007",
            aliases=("id", "machine", "id_machine", "code_machine", "maschine"),
        ),
        Column(
            "site_location",
            "text",
            "Name of the station where the machine works; empty if unknown.",
            max_length=80,
            aliases=("site", "location", "emplacement", "lieu", "gare"),
        ),
        Column(
            "installation_year",
            "integer",
            "Calendar year of the machine's installation.",
            minimum=1950,
            maximum=2100,
            aliases=("annee_installation", "année_d_installation", "year", "installed"),
        ),
        Column(
            "machine_type",
            "text",
            "Kind of machine, such as crane or conveyor.",
            optional=True,
            max_length=80,
            aliases=("type", "type_machine", "type_de_machine"),
        ),
    ),
)
