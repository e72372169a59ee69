"""The demo: terminals, a local Kafka and listeners in one process, started by `make stream`."""
