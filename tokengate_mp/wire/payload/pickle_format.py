"""The pickle format of payloads."""

from __future__ import annotations

from typing import Final

PROTOCOL: Final = 5
"""The protocol of every pickle: the first with buffers apart."""

MAIN: Final = b"__main__"
"""In each pickle that refers to `__main__`, which in a core process is another module."""
