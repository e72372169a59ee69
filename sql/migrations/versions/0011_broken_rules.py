"""Broken rules: which rules of its contract a quarantined row breaks, as data beside the words."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# The detail of a row that validation has judged reads `column: reason; column: reason`, by names alone. Of any other
# row the rules stay null, and its reason says what is wrong.
JUDGED = """
UPDATE {table}
SET broken_rules = '[{{"columns":["'
    || REPLACE(REPLACE(detail, '; ', '"}},{{"columns":["'), ': ', '"],"reason":"')
    || '"}}]'
WHERE reason IN (
        'required', 'wrong_type', 'not_finite', 'control_character', 'too_long', 'out_of_range', 'not_allowed',
        'pattern', 'future', 'too_old'
    )
    AND SUBSTR(detail, 1, LENGTH(column_name) + LENGTH(reason) + 2) = column_name || ': ' || reason
"""


def upgrade() -> None:
    for table in ("quarantine", "load_attempt_rows"):
        op.add_column(table, sa.Column("broken_rules", sa.Text()))
        op.execute(sa.text(JUDGED.format(table=table)))
