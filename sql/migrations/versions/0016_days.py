"""Complete days: the reports read views that earlier releases did not have.

No table changes. The version tells a run that the views must be made first, which `dpa migrate` does.
"""

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass
