"""Where it runs: Prefect on a laptop."""
