"""The work that demos and benchmarks run: plain functions, and the same functions decorated."""
