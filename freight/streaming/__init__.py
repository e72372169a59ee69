"""Kafka to warehouse: messages become micro-batches, which load exactly once."""
