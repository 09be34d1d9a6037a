"""What functions print and log, on its way to the parent."""
