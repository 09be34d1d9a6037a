"""Running the function of one token."""
