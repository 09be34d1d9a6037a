"""Tokens made inside tokens: chains, claims, waits and orphans."""
