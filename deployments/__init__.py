"""Where it runs: Prefect on a laptop."""

from freight.privacy import keep_private

keep_private()  # before Prefect is imported: its server and worker inherit it
