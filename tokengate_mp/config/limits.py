"""Limits that core processes know as well, and that load nothing else there."""

from __future__ import annotations

from typing import Final

MAX_THREADS_PER_CORE: Final = 256
"""Each crew thread has a word of its own on the status page of its core's mailbox."""
