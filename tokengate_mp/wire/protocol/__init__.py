"""The records that travel between the parent and a core process."""
