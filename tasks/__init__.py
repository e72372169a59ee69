"""How Prefect runs the core: thin task shells with retries, names and artifacts."""
