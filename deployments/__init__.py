"""Deployments: where DPA runs, and what it needs there."""

from freight.privacy import keep_private

keep_private()  # before the import of Prefect: its server and worker inherit the umask
