"""Receiving: bytes to the disk, a row in the ledger, then success; in this order."""
