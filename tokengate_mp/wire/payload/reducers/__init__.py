"""Reducers: how objects of certain types are pickled where values travel by value."""
