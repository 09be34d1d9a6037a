"""Tokens made inside tokens, in a core process."""
