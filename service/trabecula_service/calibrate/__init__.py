"""Adapters of the calibration: reading phantom series, the registry in the ledger, pictures and charts."""
