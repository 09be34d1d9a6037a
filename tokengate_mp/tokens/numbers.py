"""Numbers of tokens, from 1, in the order of the calls of a process."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Final

next_number: Final[Callable[[], int]] = count(1).__next__
"""Gives the number of the next token of this process; in any thread."""
