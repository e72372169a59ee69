"""Profiles: how the columns of a load unit looked, with its lineage."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("batches", sa.Column("profile", sa.Text()))
    op.create_index("ix_batches_source", "batches", ["source", "batch_id"])
