"""Between the parent and a core process: shared memory, rings, doorbells, and what they carry.

Nothing here knows what a token is for, or where it should run.
"""
