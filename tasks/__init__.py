"""Prefect tasks around the core: thin shells with retries, names and artifacts."""
