"""The engine of a coordinator or an executor: calls in, outcomes out, in turns."""
