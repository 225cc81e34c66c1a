"""The demonstration: a digital patient goes through the whole service, and what comes out is held against what is known."""
