"""Terminals, a local Kafka and listeners in one process: `make stream`."""
