"""Rules that pick the series to measure, and say why."""
