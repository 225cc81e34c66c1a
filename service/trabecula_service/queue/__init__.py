"""The queue of analyses and the worker that takes from it."""
