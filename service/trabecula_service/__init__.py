"""The product around the measurement: DICOM in, documents out, a ledger that loses nothing."""

__version__ = "0.1.0"
