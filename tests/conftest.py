"""What every test gets."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ("leaks", "pytester")

# How long one example takes says more about the machine's other work than about the code. Every
# test has its timeout.
settings.register_profile("no deadline", settings(), deadline=None)
settings.load_profile("no deadline")
