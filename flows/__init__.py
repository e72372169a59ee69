"""The flows: one module per business process; a flow only sequences tasks."""

from freight.privacy import keep_private

keep_private()  # before the import of Prefect, however a run starts: as a program or in a worker
