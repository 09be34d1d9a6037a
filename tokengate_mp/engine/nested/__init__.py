"""Tokens made inside tokens, as the parent keeps them."""
