"""Watermarks: up to where a source that is no file has been read."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("file_positions", sa.Column("watermark", sa.Text()))
