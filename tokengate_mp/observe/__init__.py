"""Frozen views, history and statistics of a running engine."""
