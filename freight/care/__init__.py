"""Looking after an installation: proof of the ledger, retention, overdue loads, and what is wrong with the machine."""
