"""Objects that are compared by identity, and found again by their names."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any, Final

REDUCERS: Final[dict[type, Callable[[Any], Any]]] = {}
"""The reducer of each type of such objects."""

# Compared by identity: dataclasses.fields(…)[0].default is dataclasses.MISSING. From Python 3.15 on
# they are of the type `sentinel`, as anybody's may be, whose objects know their names themselves.
if sys.version_info < (3, 15):
    REDUCERS[type(dataclasses.MISSING)] = lambda _missing: "MISSING"
    REDUCERS[type(dataclasses.KW_ONLY)] = lambda _kw_only: "KW_ONLY"
