"""Deadlines, retries, and when processes are replaced or given up."""
