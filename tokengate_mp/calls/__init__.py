"""Decorated functions, and how their calls are encoded."""
