"""The blocks: locations and secrets of other systems that Prefect stores, and their connection to the core."""
