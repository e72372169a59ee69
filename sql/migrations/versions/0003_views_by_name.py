"""Remember each view by its name, so that one that a release no longer has is dropped, too."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("schema_views")
    op.create_table(
        "schema_views",
        sa.Column("view_name", sa.Text(), primary_key=True),
        sa.Column("fingerprint", sa.Text(), nullable=False),
    )
