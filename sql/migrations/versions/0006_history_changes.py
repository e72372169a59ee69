"""Which loads changed the machines' history: who has read the history can tell that it is still the same."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "history_changes",
        sa.Column("change_id", BIG, primary_key=True, autoincrement=True),
        sa.Column("batch_id", BIG, nullable=False),
    )
