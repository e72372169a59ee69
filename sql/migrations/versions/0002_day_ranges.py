"""Find the facts of a day by block ranges on PostgreSQL: facts come day by day, and a load pays next to nothing."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INDEX = "ix_fact_transactions_day"


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return  # SQLite has trees only
    op.drop_index(INDEX, "fact_transactions")
    op.create_index(
        INDEX,
        "fact_transactions",
        ["day_number"],
        postgresql_using="brin",
        postgresql_with={"autosummarize": True},
    )
