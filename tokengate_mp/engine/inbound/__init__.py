"""The way in of outcomes: taken from links, loaded, and settled with the scheduler."""
