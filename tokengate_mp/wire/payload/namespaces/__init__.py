"""The global variables of functions and classes that travel by value."""
