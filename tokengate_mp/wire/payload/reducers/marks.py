"""Objects that are compared by identity, and found again by their names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

REDUCERS: Final[dict[type, Callable[[Any], Any]]] = {
    # Compared by identity: dataclasses.fields(…)[0].default is dataclasses.MISSING.
    type(dataclasses.MISSING): lambda _missing: "MISSING",
    type(dataclasses.KW_ONLY): lambda _kw_only: "KW_ONLY",
}
"""The reducer of each type of such objects."""
