"""Builders of test input: series, volumes, services; no fixture files."""
