"""Arguments, results and functions as bytes, and back."""
