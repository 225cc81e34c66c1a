"""The ledger: the one truth about what was received, what became of it and why."""
