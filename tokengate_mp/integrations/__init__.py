"""Other libraries' parallel work on core processes.

Each library is an extra, and is imported when its integration is asked for and not before.
"""
