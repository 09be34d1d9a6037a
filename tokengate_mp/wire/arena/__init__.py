"""Shared memory beside the rings, for large payloads."""
