"""What a core process is to the system, and to `multiprocessing`."""
