"""Reshapes: what the own function of a source did with the rows of a file, and from which row of it a row came."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "reshapes",
        sa.Column("batch_id", BIG, primary_key=True, autoincrement=False),
        sa.Column("function", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        *(
            sa.Column(name, BIG, nullable=False)
            for name in ("rows_in", "rows_out", "dropped", "added", "numbers_per_row")
        ),
    )
    for table in ("file_positions", "load_attempts"):
        op.add_column(table, sa.Column("function_version", sa.Text()))
    for table in ("quarantine", "load_attempt_rows"):
        op.add_column(table, sa.Column("source_row", BIG))
