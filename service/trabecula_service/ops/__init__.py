"""Running it: logs, metrics, threads, the lock on the data folder."""
