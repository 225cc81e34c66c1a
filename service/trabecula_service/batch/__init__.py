"""Cohorts: thousands of studies of a folder, analysed by parallel workers, resumable, with one table at the end."""
