"""What tests of the engine get."""

from __future__ import annotations

import contextlib

import pytest
from rig import rigged


@pytest.fixture
def make_rig():
    """Make engines on fakes, one at a time unless it is not public; each is closed at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda cores=1, **options: stack.enter_context(rigged(cores, **options))
