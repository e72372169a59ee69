"""Care of an installation: proof of the ledger, retention, overdue loads, and faults of the machine."""
