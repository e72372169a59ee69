"""What runs: one module for each business process; a flow only sequences tasks."""

from freight.privacy import keep_private

keep_private()  # before Prefect is imported, and wherever a run starts: as a program, or by a worker
