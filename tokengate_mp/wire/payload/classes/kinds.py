"""The kinds of class: how each is taken apart, and put together again."""

from __future__ import annotations

import enum
from typing import Any

from tokengate_mp.wire.payload.classes import bare, contents, enums, statements, structs, structures
from tokengate_mp.wire.payload.reducers.singles import Apart


def take_apart(cls: type) -> Apart:
    """Take a class apart into what makes a bare class, and what it gets then."""
    if statements.is_mapped(cls):
        return statements.take_apart(cls)
    of_it = contents.of(cls)
    if issubclass(cls, enum.Enum) and enums.MEMBERS in of_it.attributes:
        of_it = of_it._replace(attributes=enums.without_combined(of_it.attributes))
        members = enums.members_of(cls)
        return Apart(enums.make, enums.arguments_of(cls), _fill_enum, (of_it, members))
    if isinstance(cls, structs.META):
        return Apart(structs.make, structs.arguments_of(cls), contents.fill, (of_it,))
    if structures.is_ctype(cls):
        of_it = of_it._replace(attributes=structures.in_order(cls, of_it.attributes))
        return Apart(structures.make, bare.arguments_of(cls), contents.fill, (of_it,))
    return Apart(bare.make, bare.arguments_of(cls), contents.fill, (of_it,))


def _fill_enum(cls: type, of_it: contents.Contents, members: list[dict[str, Any]]) -> None:
    contents.fill(cls, of_it)
    enums.fill(cls, members)


def reduce_made(cls: Any) -> tuple[Any, ...] | None:
    """Reduce a class that an expression over other classes gives; None if it is no such class."""
    generic = vars(cls).get("__pydantic_generic_metadata__")
    if generic and generic["origin"] is not None:
        arguments = generic["args"]
        return _parameterized, (generic["origin"], arguments)
    return structures.reduce_made(cls)


def _parameterized(origin: Any, arguments: tuple[Any, ...]) -> Any:
    return origin[arguments if len(arguments) > 1 else arguments[0]]
