"""What demos and benchmarks run and measure; nothing here prints.

`workloads`, `leibniz` and `burst` hold the work as plain functions, `tokens` the same
functions decorated. `waves`, `burst` and `comparison` run the demos; `competitors` (who is
measured), `rows` (what is measured), `sampling` (how) and `report` (what it comes to) are the
benchmark.
"""
