"""Chains, and tokens that wait for tokens."""
