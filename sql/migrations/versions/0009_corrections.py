"""Corrections: what people have changed in quarantined rows before those were loaded."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "corrections",
        sa.Column("correction_id", BIG, primary_key=True, autoincrement=True),
        sa.Column("batch_id", BIG, nullable=False),
        sa.Column("quarantine_id", BIG, nullable=False),
        sa.Column("row_number", BIG, nullable=False),
        sa.Column("column_name", sa.Text(), nullable=False),
        sa.Column("old_value", sa.Text()),
        sa.Column("new_value", sa.Text()),
        sa.Column("corrected_by", sa.Text(), nullable=False),
        sa.Column("workbook", sa.Text(), nullable=False),
        sa.Column("workbook_hash", sa.Text(), nullable=False),
        sa.Column("corrected_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_corrections_batch", "corrections", ["batch_id"])
