"""Objects that are compared by identity, and found again by their names."""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Callable
from typing import Any, Final


def _reduce_parameter(parameter: Any) -> str | tuple[Any, ...]:
    name, module = parameter.__name__, parameter.__module__
    if module != "__main__" and getattr(sys.modules.get(module), name, None) is parameter:
        return str(name)
    return type(parameter), (name,)


REDUCERS: Final[dict[type, Callable[[Any], Any]]] = {
    typing.ParamSpec: _reduce_parameter,
    typing.TypeVarTuple: _reduce_parameter,
    # Compared by identity: dataclasses.fields(…)[0].default is dataclasses.MISSING.
    type(dataclasses.MISSING): lambda _missing: "MISSING",
    type(dataclasses.KW_ONLY): lambda _kw_only: "KW_ONLY",
}
"""The reducer of each type of such objects."""
