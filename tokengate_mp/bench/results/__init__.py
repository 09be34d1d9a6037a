"""What samples come to: figures, ratios, targets, comparison with an earlier run, pictures."""
