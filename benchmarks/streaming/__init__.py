"""Kafka to PostgreSQL: DPA beside the limit and the usual peer, measured side by side in one run."""
