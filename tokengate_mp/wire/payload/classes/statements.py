"""Mapped classes of SQLAlchemy: made again by their class statements, and their mappings with them.

What a mapping is made of (mappers, instrumented attributes, the events between these) belongs to
the process that made it. So such a class is the exception: its statement is run again, as in a
process that runs the script. With a class come the others of its registry, which the statement may
name as text.
"""

from __future__ import annotations

import ast
import inspect
import pickle
import sys
import textwrap
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from tokengate_mp.wire.payload.namespaces.bindings import namespace_of
from tokengate_mp.wire.payload.namespaces.code_names import names_in
from tokengate_mp.wire.payload.reducers.singles import Apart


def is_mapped(cls: Any) -> bool:
    """Whether a class is mapped by SQLAlchemy, or the base of classes that are."""
    orm = sys.modules.get("sqlalchemy.orm")
    if orm is None:
        return False
    base = getattr(orm, "DeclarativeBase", None)
    if base is not None and issubclass(cls, base):
        return True
    return any(
        "_sa_class_manager" in vars(each) or "_sa_registry" in vars(each) for each in cls.__mro__
    )


def take_apart(cls: Any) -> Apart:
    """Take a mapped class apart into its statement and what the statement names.

    Raises:
        pickle.PicklingError: The statement does not stand at the top of a module, or in no source.
    """
    if type(cls).__name__ == "DeclarativeMeta" and "registry" in vars(cls):
        return _base_apart(cls)
    code = _statement(cls)
    variables = vars(sys.modules[cls.__module__])
    names = {
        name: variables[name]
        for name in sorted(names_in(code))
        if name in variables and variables[name] is not cls
    }
    registry: Any = getattr(cls, "registry", None)
    others = [] if registry is None else [mapper.class_ for mapper in registry.mappers]
    for name, value in names.items():
        table = registry is not None and not isinstance(value, type)
        if table and getattr(value, "metadata", None) is registry.metadata:
            raise _refusal(cls, f"refers to the table {name!r} of the same metadata")
    functions = [each for each in _functions(cls) if each.__globals__ is variables]
    arguments = code, cls.__name__, namespace_of(variables).reference, names, _submodules(code)
    # (The functions come for the sake of the variables that they refer to.)
    return Apart(make, arguments, _ignore, (others, functions))


def _base_apart(base: Any) -> Apart:
    """Take apart what `sqlalchemy.orm.declarative_base` gave, which no statement made."""
    others = [mapper.class_ for mapper in base.registry.mappers]
    metadata = base.metadata
    arguments = base.__name__, base.__module__, metadata.schema, metadata.naming_convention
    return Apart(_base, arguments, _ignore, (others, []))


def _base(name: str, module: str, schema: str | None, naming_convention: Any) -> Any:
    sqlalchemy = import_module("sqlalchemy")
    metadata = sqlalchemy.MetaData(schema=schema, naming_convention=naming_convention)
    made = import_module("sqlalchemy.orm").declarative_base(name=name, metadata=metadata)
    made.__module__ = module
    return made


def _refusal(cls: type, why: str) -> pickle.PicklingError:
    return pickle.PicklingError(
        f"{cls.__qualname__} is mapped by SQLAlchemy, whose classes are sent by their statements, "
        f"and {why}: define it in a module"
    )


def _submodules(code: CodeType) -> list[ModuleType]:
    """The modules that code refers to by way of their packages."""
    names = _all_names(code)
    return [
        module
        for name, module in list(sys.modules.items())
        if "." in name and type(module) is ModuleType and names.issuperset(name.split("."))
    ]


def _all_names(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _all_names(constant)
    return names


def _functions(cls: type) -> Iterator[FunctionType]:
    for value in vars(cls).values():
        for part in ("fget", "fset", "fdel", "__func__"):
            function = getattr(value, part, None) if type(value) in _HOLDERS else None
            if isinstance(function, FunctionType):
                yield function
        if type(value) is FunctionType:
            yield value


_HOLDERS: Final = frozenset({property, classmethod, staticmethod})


def _statement(cls: type) -> CodeType:
    if cls.__qualname__ != cls.__name__:
        raise _refusal(cls, "its statement does not stand at the top of a script")
    try:
        lines, first = inspect.getsourcelines(cls)
        file = inspect.getsourcefile(cls) or "<unknown>"
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError) as cause:
        raise _refusal(cls, "no statement of it is found") from cause
    ast.increment_lineno(tree, first - 1)
    return compile(tree, file, "exec", dont_inherit=True)


def make(
    code: CodeType,
    name: str,
    variables: dict[str, Any],
    names: Mapping[str, Any],
    _submodules: list[ModuleType],
) -> Any:
    """Run the statement of a class among the variables of its module, which it does not bind."""
    for each, value in names.items():
        variables.setdefault(each, value)
    made: dict[str, Any] = {}
    exec(code, variables, made)  # noqa: S102 - the user's own statement
    return made[name]


def _ignore(_cls: type, _others: list[type], _functions: list[Any]) -> None:
    pass
