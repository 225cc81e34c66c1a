"""Evaluation of this installation, or of another program's masks, on public and own data sets."""
