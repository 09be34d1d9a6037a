"""The threads of a core process, and when they wake the parent."""
