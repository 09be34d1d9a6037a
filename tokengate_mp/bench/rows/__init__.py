"""The rows of the benchmark: which sizes, which competitors, which unit, which measurement."""
