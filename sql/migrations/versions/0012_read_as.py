"""Read as: how each batch was read, as JSON: numbers, the order of day and month, the encoding, and what proves it."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Earlier batches keep null: `decimal_mark` says how their numbers were read, and their days had the day first.
    op.add_column("batches", sa.Column("read_as", sa.Text()))
