"""Whether global variables are still bound to what they were bound to.

The question is asked at every call of a function that travels by value. So it is compiled: to a
function whose own globals are those that are looked at, which makes each look as cheap as a look of
the function itself, by the same caches of the interpreter.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from keyword import iskeyword
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Final
from weakref import ref

UNBOUND: Final = type("Unbound", (), {"__slots__": (), "__repr__": lambda _self: "UNBOUND"})()
"""Stands for the value of a name that is bound to nothing."""

_HELD: Final = (type, ModuleType, BuiltinFunctionType)
"""Kinds of values that a watch may keep: others may be large, or refer to the watching function."""

Unchanged = Callable[[], bool]


def watch(reached: Sequence[tuple[dict[str, Any], Mapping[str, Any]]]) -> Unchanged | None:
    """Make a function that tells whether names are bound as they were; None if there are none.

    Args:
        reached: Variables of modules, each with names and what they were bound to, or `UNBOUND`.
    """
    checks = [_check(variables, seen) for variables, seen in reached if seen]
    if not checks:
        return None
    if len(checks) == 1:
        return checks[0]
    return lambda: all(check() for check in checks)


def _check(variables: dict[str, Any], seen: Mapping[str, Any]) -> Unchanged:
    kinds: list[tuple[str, str]] = []
    values: list[Any] = []
    for name, value in seen.items():
        if value is UNBOUND and not hasattr(builtins, name):
            kinds.append((name, "unbound"))
            values.append(None)
            continue
        if value is UNBOUND:
            value = getattr(builtins, name)  # noqa: PLW2901 - as the name is looked up
        kind = "held"
        if not isinstance(value, _HELD):
            try:
                value, kind = ref(value), "referred"  # noqa: PLW2901 - in its place
            except TypeError:
                pass  # most are numbers, texts and the like
        kinds.append((name, kind))
        values.append(value)
    code = _compiled(tuple(kinds))
    return FunctionType(code, variables, None, (_MISSING, variables, *values))


_MISSING: Final = (NameError, LookupError)
"""What a name raises that was bound, and is not any more."""


@lru_cache(maxsize=1024)
def _compiled(kinds: tuple[tuple[str, str], ...]) -> CodeType:
    own = "_"
    while any(name.startswith(own) and name[len(own) :].isdigit() for name, _ in kinds):
        own += "_"
    missing, variables, *parameters = [f"{own}{at}" for at in range(len(kinds) + 2)]
    tests = []
    for (name, kind), seen in zip(kinds, parameters, strict=True):
        if kind == "unbound":
            tests.append(f"{name!r} not in {variables}")
            continue
        found = name if name.isidentifier() and not iskeyword(name) else f"{variables}[{name!r}]"
        # (None is what a weak reference gives whose object is gone.)
        tests.append(f"{found} is {seen}" + ("() is not None" if kind == "referred" else ""))
    source = (
        f"def unchanged({', '.join([missing, variables, *parameters])}):\n"
        f" try: return {' and '.join(tests)}\n"
        f" except {missing}: return False\n"
    )
    made: dict[str, Any] = {}
    exec(compile(source, "<watch>", "exec"), made)  # noqa: S102 - of names alone
    code: CodeType = made["unchanged"].__code__
    return code
