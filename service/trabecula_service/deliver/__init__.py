"""Delivery: each document to each destination, tried until it is taken or given up by name."""
