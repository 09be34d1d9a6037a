"""Tokens: the futures that calls return, and their variants."""
